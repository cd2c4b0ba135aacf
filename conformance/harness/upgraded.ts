import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";

/** Bytes to and from a server that has agreed to change the protocol. */
export interface Link {
  send(bytes: Buffer): void;
  /** Resolves when the server has taken enough to give it more. */
  drained(): Promise<void>;
  receive(listener: (bytes: Buffer) => void): void;
  /** Resolves when the server has ended or broken the connection. */
  readonly closed: Promise<void>;
  pause(): void;
  resume(): void;
  /** Ends it at once, as a client that dies. */
  destroy(): void;
}

/** What a server has answered to a request for an upgrade. */
export interface Answer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, readonly string[]>;
  readonly body: string;
}

/** The answer was not "101 Switching Protocols". */
export class NotUpgraded extends Error {
  override readonly name = "NotUpgraded";
  readonly answer: Answer;

  constructor(answer: Answer) {
    super(`not upgraded: ${answer.status} ${answer.body.trim()}`);
    this.answer = answer;
  }
}

/** Asks for an upgrade over HTTP or, with `tls` for what to trust, HTTPS. Rejects with NotUpgraded when the server refuses. */
export async function upgrade(
  url: string,
  method: "GET" | "POST",
  headers: readonly string[],
  tls: ConnectionOptions = {},
): Promise<{ readonly answer: Answer; readonly link: SocketLink }> {
  const { protocol, hostname, port, pathname, search, host: authority } = new URL(url);
  const to = { port: Number(port), host: hostname.replaceAll(/[[\]]/g, "") };
  const isSecure = protocol === "https:";
  const socket = isSecure ? connectTls({ ...to, ...tls }) : connect(to);
  await once(socket, isSecure ? "secureConnect" : "connect");
  socket.write([`${method} ${pathname}${search} HTTP/1.1`, `Host: ${authority}`, ...headers, "", ""].join("\r\n"));
  let text = "";
  for await (const [chunk] of on(socket)) {
    text += chunk.toString("latin1");
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) continue;
    const answer = parse(text.slice(0, end), text.slice(end + 4));
    if (answer.status === 101) return { answer, link: new SocketLink(socket, Buffer.from(answer.body, "latin1")) };
    const rest = await remaining(socket);
    throw new NotUpgraded({ ...answer, body: answer.body + rest });
  }
  throw new NotUpgraded({ status: 0, headers: new Map(), body: "the server has closed the connection" });
}

/** Chunks until the end, without giving up the socket to an iterator. */
async function* on(socket: Socket): AsyncGenerator<[Buffer]> {
  const queue: (Buffer | undefined)[] = [];
  let wake = () => {};
  const push = (chunk?: Buffer) => {
    queue.push(chunk);
    wake();
  };
  const data = (chunk: Buffer) => push(chunk);
  const end = () => push();
  socket.on("data", data).on("end", end).on("error", end);
  try {
    while (true) {
      if (queue.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      const chunk = queue.shift();
      if (chunk === undefined) return;
      yield [chunk];
    }
  } finally {
    socket.pause();
    socket.off("data", data).off("end", end).off("error", end);
  }
}

async function remaining(socket: Socket): Promise<string> {
  let text = "";
  for await (const [chunk] of on(socket)) text += chunk.toString("latin1");
  socket.destroy();
  return text;
}

function parse(head: string, body: string): Answer {
  const [first = "", ...lines] = head.split("\r\n");
  const headers = new Map<string, string[]>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).toLowerCase();
    headers.set(name, [...(headers.get(name) ?? []), line.slice(colon + 1).trim()]);
  }
  return { status: Number(first.split(" ")[1]), headers, body };
}

class SocketLink implements Link {
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #head: Buffer;

  constructor(socket: Socket, head: Buffer) {
    this.#socket = socket;
    this.#head = head;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    socket.on("end", () => socket.destroy());
    socket.on("error", () => socket.destroy());
    socket.on("close", () => resolve());
  }

  send(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  async drained(): Promise<void> {
    if (!this.#socket.writableNeedDrain) return;
    await Promise.race([once(this.#socket, "drain").catch(() => {}), this.closed]);
  }

  receive(listener: (bytes: Buffer) => void): void {
    if (this.#head.length > 0) listener(this.#head);
    this.#socket.on("data", listener);
    this.#socket.resume();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

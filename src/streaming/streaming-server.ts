import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from "node:http";
import { createServer as createTlsServer, type Server as TlsServer } from "node:https";
import { isIPv6, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { DomainError, messageOf } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { Asked } from "./asked.ts";
import { converse } from "./conversation.ts";
import { Refusal } from "./refusal.ts";
import type { Runtime } from "./runtime.ts";
import { readTlsFiles, type TlsFiles, watchTlsFiles } from "./tls-files.ts";
import { Tokens, tokenPattern } from "./tokens.ts";

export interface StreamingOptions {
  /** An IP address. */
  readonly address: string;
  /** 0: any free one. */
  readonly port: number;
  /** How long nothing may be said on a connection. */
  readonly idleMs: number;
  /** How long a client may take to open the streams that it asked for. */
  readonly creationMs: number;
  readonly tls: TlsFiles | undefined;
  readonly runtime: Runtime;
  readonly log: Log;
}

/** A request's headers, its body if it has one, and a TLS handshake. */
const REQUEST_MS = 10_000;
const MAX_HEADER_BYTES = 16 * 1024;
const MAX_CONNECTIONS = 1_024;
/** What is in flight when the server ends may still reach its clients. */
const FAREWELL_MS = 2_000;

const path = new RegExp(`^/(exec|attach|portforward)/(${tokenPattern})(?:\\?|$)`);

/**
 * The HTTP server that exec, attach and port-forward are redirected to. Whoever knows a token may use it once; there is no
 * other authentication, and so none of its URLs is ever logged.
 */
export class StreamingServer implements AsyncDisposable {
  readonly #options: StreamingOptions;
  readonly #server: Server;
  readonly #tokens = new Tokens<Asked>(() => performance.now());
  readonly #sockets = new Set<Socket>();
  readonly #conversations = new Map<AbortController, Promise<void>>();
  readonly #owned = new DisposableStack();
  #base = "";

  private constructor(options: StreamingOptions, server: Server) {
    this.#options = options;
    this.#server = server;
    server.maxConnections = MAX_CONNECTIONS;
    server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
    server.on("request", (request, response) => this.#answerPlain(request, response));
    server.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
  }

  /** Throws when the address is taken or a TLS file is not usable. */
  static async listen(options: StreamingOptions): Promise<StreamingServer> {
    const { address, port, tls } = options;
    const limits = {
      ...{ headersTimeout: REQUEST_MS, requestTimeout: REQUEST_MS, connectionsCheckingInterval: REQUEST_MS / 2 },
      ...{ maxHeaderSize: MAX_HEADER_BYTES, keepAlive: true, keepAliveInitialDelay: 60_000, noDelay: true },
    };
    const server =
      tls === undefined
        ? createServer(limits)
        : createTlsServer({ ...limits, ...(await readTlsFiles(tls)), handshakeTimeout: REQUEST_MS });
    const streaming = new StreamingServer(options, server);
    server.listen(port, address);
    await once(server, "listening");
    // Without it a single connection that the kernel does not give us would end the process.
    server.on("error", (error) => options.log.warn("a connection was not accepted", { error: error.message }));
    try {
      await streaming.#listening();
    } catch (error) {
      server.close();
      throw error;
    }
    return streaming;
  }

  /**
   * Where this can be had, once and within a minute, by who gets the URL. Throws `resourceExhausted` when too many URLs wait
   * to be used.
   */
  url(asked: Asked): string {
    return `${this.#base}/${asked.kind}/${this.#tokens.issue(asked)}`;
  }

  /** Connections that carry an exec, an attach or a port-forward. */
  get sessions(): number {
    return this.#conversations.size;
  }

  /** Ends all conversations, telling each client; what does not end soon is cut off. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#owned.dispose();
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeIdleConnections();
    for (const life of this.#conversations.keys()) life.abort(stopping());
    const cutOff = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy();
    }, FAREWELL_MS);
    await Promise.all(this.#conversations.values());
    await closed;
    clearTimeout(cutOff);
  }

  async #listening(): Promise<void> {
    const { address, tls, log } = this.#options;
    const bound = this.#server.address();
    if (bound === null || typeof bound === "string") throw new Error("a listening TCP server has no address");
    // What listens everywhere is reached here.
    const host = address === "0.0.0.0" ? "127.0.0.1" : address === "::" ? "::1" : address;
    this.#base = `${tls === undefined ? "http" : "https"}://${isIPv6(host) ? `[${host}]` : host}:${bound.port}`;
    if (tls === undefined) return;
    const problem = (message: string) => log.warn("streaming certificate could not be renewed", { problem: message });
    // Only with TLS files is it a server of TLS.
    const server = this.#server as TlsServer;
    this.#owned.use(await watchTlsFiles(tls, (material) => server.setSecureContext(material), problem));
  }

  /** What a token stands for; it is used up. Throws a Refusal (404, 405). */
  #asked(request: IncomingMessage): Asked {
    if (request.method !== "GET" && request.method !== "POST") throw new Refusal(405, "expected GET or POST");
    const [, kind, token = ""] = path.exec(request.url ?? "") ?? [];
    const asked = this.#tokens.take(token);
    if (asked === undefined || asked.kind !== kind) throw new Refusal(404, "there is nothing here, or not any more");
    return asked;
  }

  #answerPlain(request: IncomingMessage, response: ServerResponse): void {
    const refusal = this.#plainRefusal(request);
    response.writeHead(refusal.status, { "content-type": "text/plain", connection: "close" });
    response.end(`${refusal.message}\n`);
  }

  #plainRefusal(request: IncomingMessage): Refusal {
    try {
      this.#asked(request);
    } catch (error) {
      if (error instanceof Refusal) return error;
      throw error;
    }
    return new Refusal(400, "expected an upgrade to SPDY/3.1 or websocket");
  }

  #upgrade(request: IncomingMessage, duplex: Duplex, head: Buffer): void {
    duplex.on("error", () => {}); // whoever uses it also learns that it was closed
    // Behind a body that is still to come Node gives a stream of its own making, which is no socket.
    if (!(duplex instanceof Socket)) {
      refuse(request.socket, new Refusal(400, "expected a request without a body"));
      return;
    }
    const socket = duplex;
    const life = new AbortController();
    if (!this.#server.listening) life.abort(stopping());
    const conversation = this.#converse({ request, socket, head }, life);
    this.#conversations.set(life, conversation);
    void conversation.finally(() => this.#conversations.delete(life));
  }

  /** Never rejects. */
  async #converse(upgrade: Parameters<typeof converse>[1], life: AbortController): Promise<void> {
    const { runtime, idleMs, creationMs, log } = this.#options;
    const started = performance.now();
    let asked: Asked | undefined;
    try {
      asked = this.#asked(upgrade.request);
      const outcome = await converse(asked, upgrade, { runtime, idleMs, creationMs, life });
      const ms = Math.round(performance.now() - started);
      log.info("stream ended", { ...fieldsOf(asked), ...withoutCommand(asked, outcome), ms });
    } catch (error) {
      if (error instanceof Refusal) refuse(upgrade.socket, error);
      // What says goodbye after it was agreed on ends by itself.
      else if (!upgrade.socket.writableEnded) upgrade.socket.destroy();
      // Who has no token shall not fill the log either.
      if (asked === undefined) log.debug("stream refused", { error: messageOf(error) });
      else log.warn("stream failed", { ...fieldsOf(asked), error: messageOf(error) });
    } finally {
      life.abort(); // frees whoever still listens
    }
  }
}

const stopping = () => new DomainError("unavailable", "the runtime is stopping");

/** What may be logged: commands may hold secrets. */
function fieldsOf(asked: Asked): Readonly<Record<string, string>> {
  if (asked.kind === "portforward") return { stream: asked.kind, sandbox: asked.sandboxId };
  return { stream: asked.kind, container: asked.request.containerId };
}

/** A runtime quotes, and may escape, what it could not start: the client reads that, the log does not. */
function withoutCommand(asked: Asked, outcome: Awaited<ReturnType<typeof converse>>) {
  if (asked.kind !== "exec" || outcome.kind !== "failed") return outcome;
  const isHarmless = (word: string) => /^[ -~]+$/.test(word) && !/["\\]/.test(word) && !outcome.message.includes(word);
  return asked.request.command.every(isHarmless) ? outcome : { kind: outcome.kind };
}

function refuse(socket: Socket, { status, message, headers }: Refusal): void {
  const body = `${message}\n`;
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    "Connection: close",
    "Content-Type: text/plain",
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...headers.map(([name, value]) => `${name}: ${value}`),
  ];
  socket.setTimeout(REQUEST_MS, () => socket.destroy());
  socket.on("finish", () => socket.destroySoon());
  socket.end(`${lines.join("\r\n")}\r\n\r\n${body}`);
}

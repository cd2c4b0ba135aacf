import { createHash, randomBytes } from "node:crypto";
import type { ConnectionOptions } from "node:tls";
import { type Link, upgrade } from "./upgraded.ts";

const opcode = { text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** A WebSocket client (RFC 6455) by hand, because libraries refuse the name of Kubernetes' tunnel. Each message is one frame. */
export class WebSocketClient implements AsyncDisposable {
  /** What the server chose; "" when it chose none. */
  readonly protocol: string;
  /** Resolves with the close code when the connection has ended; 1006: without a farewell. */
  readonly closed: Promise<number>;
  readonly #link: Link;
  #rest: Buffer = Buffer.alloc(0);
  #closeCode = 1006;
  #listener: (message: Buffer) => void = () => {};
  #pong = () => {};

  private constructor(link: Link, protocol: string) {
    this.#link = link;
    this.protocol = protocol;
    this.closed = link.closed.then(() => this.#closeCode);
  }

  /** Rejects with NotUpgraded when the server refuses. */
  static async connect(url: string, protocols: readonly string[], tls?: ConnectionOptions): Promise<WebSocketClient> {
    const key = randomBytes(16).toString("base64");
    const headers = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"];
    if (protocols.length > 0) headers.push(`Sec-WebSocket-Protocol: ${protocols.join(", ")}`);
    const { answer, link } = await upgrade(url, "GET", [...headers, `Sec-WebSocket-Key: ${key}`], tls);
    const expected = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
    if (answer.headers.get("sec-websocket-accept")?.[0] !== expected) throw new Error("a wrong Sec-WebSocket-Accept");
    return new WebSocketClient(link, answer.headers.get("sec-websocket-protocol")?.[0] ?? "");
  }

  /** Every message from now on; before, nothing is read. */
  receive(listener: (message: Buffer) => void): void {
    this.#listener = listener;
    this.#link.receive((bytes) => this.#read(bytes));
  }

  /** Resolves when more may be sent. */
  async send(message: Buffer | string): Promise<void> {
    this.#frame(typeof message === "string" ? opcode.text : opcode.binary, Buffer.from(message));
    await this.#link.drained();
  }

  /** Resolves with the answer. */
  async ping(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#pong = resolve;
    this.#frame(opcode.ping, Buffer.from("ping"));
    await promise;
  }

  /** Any bytes, for who wants to break the protocol. */
  raw(bytes: Buffer): void {
    this.#link.send(bytes);
  }

  /** Says goodbye. */
  close(): void {
    this.#frame(opcode.close, Buffer.from([1000 >> 8, 1000 & 0xff]));
  }

  /** Takes nothing more from the server. */
  stall(): void {
    this.#link.pause();
  }

  /** Breaks the connection. */
  destroy(): void {
    this.#link.destroy();
  }

  /** Bytes in binary messages: for what is tunnelled. */
  tunnel(): Link {
    return {
      send: (bytes) => this.#frame(opcode.binary, bytes),
      drained: () => this.#link.drained(),
      receive: (listener) => this.receive(listener),
      closed: this.closed.then(() => {}),
      pause: () => this.#link.pause(),
      resume: () => this.#link.resume(),
      destroy: () => this.#link.destroy(),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.destroy();
    await this.closed;
  }

  #frame(code: number, payload: Buffer): void {
    const mask = randomBytes(4);
    const masked = Buffer.alloc(payload.length);
    for (let at = 0; at < payload.length; at += 1) masked[at] = (payload[at] ?? 0) ^ (mask[at & 3] ?? 0);
    this.#link.send(Buffer.concat([Buffer.from([0x80 | code]), lengthOf(payload.length), mask, masked]));
  }

  #read(chunk: Buffer): void {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    for (let frame = parseFrame(bytes); frame !== undefined; frame = parseFrame(bytes)) {
      bytes = bytes.subarray(frame.size);
      this.#received(frame.code, frame.payload);
    }
    this.#rest = Buffer.from(bytes);
  }

  #received(code: number, payload: Buffer): void {
    if (code === opcode.close) {
      this.#closeCode = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
      this.#frame(opcode.close, payload);
    } else if (code === opcode.ping) this.#frame(opcode.pong, payload);
    else if (code === opcode.pong) this.#pong();
    else this.#listener(payload);
  }
}

/** Bit 7 says that the payload is masked, as a client's has to be. */
function lengthOf(length: number): Buffer {
  if (length < 126) return Buffer.from([0x80 | length]);
  const bytes = Buffer.alloc(length < 0x1_0000 ? 3 : 9);
  bytes[0] = 0x80 | (length < 0x1_0000 ? 126 : 127);
  bytes.writeUIntBE(length, bytes.length === 3 ? 1 : 5, bytes.length === 3 ? 2 : 4);
  return bytes;
}

function parseFrame(bytes: Buffer) {
  if (bytes.length < 2) return undefined;
  const [first = 0, short = 0] = bytes;
  if (first < 0x80) throw new Error("a fragment: not all clients put them together");
  const head = short === 126 ? 4 : short === 127 ? 10 : 2;
  if (bytes.length < head) return undefined;
  const length = head === 2 ? short : head === 4 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  if (bytes.length < head + length) return undefined;
  return { code: first & 0x0f, payload: bytes.subarray(head, head + length), size: head + length };
}

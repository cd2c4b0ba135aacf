import type { Socket } from "node:net";
import type { WebSocket } from "ws";
import { DomainError } from "../../lib/errors.ts";
import { HIGH_WATER_BYTES, MAX_ANSWER_BYTES, type MessageTransport, type Receiver } from "../transport.ts";

export interface WebSocketTransportOptions {
  /** Messages are text, not binary. */
  readonly isText: boolean;
  /** How long nothing may be sent or received; what the kernel takes of a long write counts as well. */
  readonly idleMs: number;
}

/** Messages of one WebSocket, whether they are called text or binary: clients are careless with that. It owns the connection. */
export class WebSocketTransport implements MessageTransport {
  readonly #webSocket: WebSocket;
  readonly #socket: Socket;
  readonly #isText: boolean;
  #receiver: Receiver | undefined;
  #draining: PromiseWithResolvers<void> | undefined;
  #isEnding = false;
  /** A message has reached the kernel. */
  readonly #sent = () => this.#farewell();

  constructor(webSocket: WebSocket, socket: Socket, { isText, idleMs }: WebSocketTransportOptions) {
    this.#webSocket = webSocket;
    this.#socket = socket;
    this.#isText = isText;
    socket.setTimeout(idleMs, () => {
      webSocket.terminate();
      this.#gone(new DomainError("deadlineExceeded", `nothing was said for ${idleMs / 1000} s`));
    });
    socket.on("drain", () => this.#drain());
    webSocket.on("message", (data: Buffer) => this.#receiver?.data(data));
    webSocket.on("ping", (data: Buffer) => {
      if (this.backlogBytes < MAX_ANSWER_BYTES) webSocket.pong(data, undefined, this.#sent);
    });
    // The library tells the client, and ends the connection.
    webSocket.on("error", (error) => this.#gone(error));
    webSocket.on("close", () => this.#gone(new DomainError("unavailable", "the client has gone away")));
    webSocket.pause();
  }

  start(receiver: Receiver): void {
    this.#receiver = receiver;
    this.#webSocket.resume();
  }

  write(parts: readonly Buffer[]): void {
    if (this.#receiver === undefined) return;
    for (const part of parts) {
      if (part.length > 0) this.#webSocket.send(part, { binary: !this.#isText }, this.#sent);
    }
  }

  ping(): void {
    if (this.#receiver !== undefined && this.backlogBytes === 0) this.#webSocket.ping(undefined, undefined, this.#sent);
  }

  get backlogBytes(): number {
    return this.#socket.writableLength;
  }

  drained(): Promise<void> {
    if (this.backlogBytes < HIGH_WATER_BYTES || this.#receiver === undefined) return Promise.resolve();
    this.#draining ??= Promise.withResolvers<void>();
    return this.#draining.promise;
  }

  pause(): void {
    this.#webSocket.pause();
  }

  resume(): void {
    this.#webSocket.resume();
  }

  end(): void {
    if (this.#receiver === undefined) return;
    this.#receiver = undefined;
    this.#drain();
    this.#isEnding = true;
    this.#webSocket.resume(); // for the client's farewell
    this.#farewell();
  }

  destroy(): void {
    this.#receiver = undefined;
    this.#webSocket.terminate();
    this.#drain();
  }

  /** From the farewell on the library gives a client LINGER_MS, however much it still has to take: that comes before. */
  #farewell(): void {
    if (this.#isEnding && this.backlogBytes === 0) this.#webSocket.close(1000);
  }

  #drain(): void {
    this.#draining?.resolve();
    this.#draining = undefined;
  }

  #gone(reason: Error): void {
    const receiver = this.#receiver;
    this.#receiver = undefined;
    this.#drain();
    receiver?.gone(reason);
  }
}

import type { Socket } from "node:net";
import { DomainError } from "../lib/errors.ts";
import { HIGH_WATER_BYTES, LINGER_MS, type Receiver, type Transport } from "./transport.ts";

/** An upgraded connection. It owns the socket. */
export class SocketTransport implements Transport {
  readonly #socket: Socket;
  readonly #head: Buffer;
  #receiver: Receiver | undefined;
  #isCorked = false;
  #draining: PromiseWithResolvers<void> | undefined;
  #linger: NodeJS.Timeout | undefined;

  /**
   * @param head what was read of the client already
   * @param idleMs how long nothing may be sent or received; what the kernel takes of a long write counts as well
   */
  constructor(socket: Socket, head: Buffer, idleMs: number) {
    this.#socket = socket;
    this.#head = head;
    const gone = (error: Error) => this.#gone(error);
    socket.setTimeout(idleMs, () =>
      gone(new DomainError("deadlineExceeded", `nothing was said for ${idleMs / 1000} s`)),
    );
    socket.on("drain", () => this.#drain());
    socket.on("data", (chunk: Buffer) => this.#receiver?.data(chunk));
    socket.on("error", gone);
    socket.on("end", () => {
      // After our end a client may have no more to say and still read.
      if (this.#receiver !== undefined) gone(new DomainError("unavailable", "the client has gone away"));
    });
    socket.on("close", () => {
      clearTimeout(this.#linger);
      gone(new DomainError("unavailable", "the client has gone away"));
    });
    socket.pause();
  }

  start(receiver: Receiver): void {
    this.#receiver = receiver;
    this.#socket.resume();
    if (this.#head.length > 0) receiver.data(this.#head);
  }

  write(parts: readonly Buffer[]): void {
    if (!this.#socket.writable) return;
    // All that is written in one turn leaves in one system call.
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.#socket.cork();
      process.nextTick(() => {
        this.#isCorked = false;
        this.#socket.uncork();
      });
    }
    for (const part of parts) this.#socket.write(part);
  }

  get backlogBytes(): number {
    return this.#socket.writableLength;
  }

  drained(): Promise<void> {
    if (this.backlogBytes < HIGH_WATER_BYTES || !this.#socket.writable) return Promise.resolve();
    this.#draining ??= Promise.withResolvers<void>();
    return this.#draining.promise;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(): void {
    if (this.#receiver === undefined) return;
    this.#receiver = undefined;
    this.#drain();
    // What still comes is read and dropped: closing with unread bytes would make the kernel discard the last answers.
    this.#socket.resume();
    this.#socket.end(() => {
      this.#linger = setTimeout(() => this.#socket.destroy(), LINGER_MS).unref();
    });
  }

  destroy(): void {
    this.#receiver = undefined;
    this.#socket.destroy();
    this.#drain();
  }

  #drain(): void {
    this.#draining?.resolve();
    this.#draining = undefined;
  }

  #gone(reason: Error): void {
    const receiver = this.#receiver;
    this.destroy();
    receiver?.gone(reason);
  }
}

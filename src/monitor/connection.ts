import { createConnection, type Socket } from "node:net";
import { step } from "../lib/steps.ts";
import { encodeFrame, type Frame, FrameReader, REPLY } from "../lib/wire.ts";
import { lost, MonitorError } from "./monitor-error.ts";
import { decodeError, decodeHello, encodeHello, type HelloReply, MESSAGE } from "./protocol.ts";

const HELLO_TIMEOUT_MS = 10_000;

/** A request that waits for its reply; it can be sent again on another connection. */
export interface Pending {
  /** Request and container, for messages and steps. */
  readonly what: string;
  readonly type: number;
  readonly seq: bigint;
  readonly payload: Buffer;
  readonly resolve: (payload: Buffer) => void;
  readonly reject: (error: Error) => void;
}

export interface ConnectionOptions {
  readonly socketPath: string;
  readonly epoch: bigint;
  readonly kind: "control" | "data";
  readonly onEvent: (frame: Frame) => void;
  /** Called once after a successful `open`, with the requests that have no reply yet. */
  readonly onClose: (unanswered: readonly Pending[]) => void;
}

let lastSeq = process.hrtime.bigint();

/** A number that no other request of this process has, nor one of an earlier process of the same boot and epoch. */
export function nextSeq(): bigint {
  lastSeq += 1n;
  return lastSeq;
}

/** One connection to a monitor: frames out, replies matched by sequence number, events handed on. */
export class MonitorConnection {
  readonly #socket: Socket;
  readonly #options: ConnectionOptions;
  readonly #frames = new FrameReader();
  readonly #pending = new Map<bigint, Pending>();
  #hello: HelloReply | undefined;
  #isOver = false;

  private constructor(socket: Socket, options: ConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("error", () => undefined); // "close" follows and says it
    socket.on("close", () => this.#end());
  }

  /** Connects and says HELLO. Throws `MonitorError`: STALE_EPOCH, UNSUPPORTED, or LOST when nobody answers. */
  static async open(options: ConnectionOptions, signal?: AbortSignal): Promise<MonitorConnection> {
    signal?.throwIfAborted();
    const connection = new MonitorConnection(createConnection(options.socketPath), options);
    const timer = setTimeout(() => connection.close(), HELLO_TIMEOUT_MS);
    const abort = (): void => connection.close();
    signal?.addEventListener("abort", abort, { once: true });
    try {
      const payload = encodeHello(options.epoch, options.kind);
      const reply = await new Promise<Buffer>((resolve, reject) => {
        connection.send({ what: "HELLO", type: MESSAGE.hello, seq: nextSeq(), payload, resolve, reject });
      });
      connection.#hello = decodeHello(reply);
      return connection;
    } catch (error) {
      connection.close();
      signal?.throwIfAborted();
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }

  get hello(): HelloReply | undefined {
    return this.#hello;
  }

  /** Sends a request; its promise is settled by the reply, or handed back by `onClose`. */
  send(pending: Pending): void {
    if (this.#isOver) {
      pending.reject(lost(pending.what, "the connection is closed"));
      return;
    }
    this.#pending.set(pending.seq, pending);
    if (this.#socket.destroyed) return; // its end is about to be told, and hands this back
    this.#socket.write(encodeFrame(pending.type, pending.seq, pending.payload));
    step("sent", pending.what);
  }

  /** Nobody waits for this reply any more. */
  forget(seq: bigint): void {
    this.#pending.delete(seq);
  }

  close(): void {
    this.#socket.destroy();
  }

  #receive(chunk: Buffer): void {
    try {
      for (const frame of this.#frames.push(chunk)) this.#dispatch(frame);
    } catch {
      this.close(); // a peer that breaks the protocol is lost
    }
  }

  #dispatch(frame: Frame): void {
    if ((frame.type & REPLY) === 0) {
      this.#options.onEvent(frame);
      return;
    }
    const pending = this.#pending.get(frame.seq);
    if (pending === undefined) return;
    this.#pending.delete(frame.seq);
    step("received", pending.what);
    if (frame.isError) pending.reject(new MonitorError(pending.what, decodeError(frame.payload)));
    else pending.resolve(frame.payload);
  }

  #end(): void {
    this.#isOver = true;
    const unanswered = [...this.#pending.values()];
    this.#pending.clear();
    if (this.#hello !== undefined) this.#options.onClose(unanswered);
    else for (const pending of unanswered) pending.reject(lost(pending.what, "no monitor answers"));
  }
}

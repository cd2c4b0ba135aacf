import type { Duplex } from "node:stream";
import { DomainError, messageOf } from "../lib/errors.ts";
import { step } from "../lib/steps.ts";
import { encodeFrame, type Frame, FrameReader, REPLY } from "../lib/wire.ts";

interface Pending {
  readonly what: string;
  readonly type: number;
  readonly timer: NodeJS.Timeout;
  readonly resolve: (reply: Frame) => void;
  readonly reject: (error: Error) => void;
}

export interface ConnectionListener {
  /** A frame that answers nothing. */
  onEvent(frame: Frame): void;
  /** The connection is of no further use; called once, after all requests in flight were rejected. */
  onClose(reason: string): void;
}

let lastSeq = process.hrtime.bigint();

/** Frames to and from the launcher. Owns the socket; requests may be answered in any order. */
export class LauncherConnection {
  readonly #socket: Duplex;
  readonly #listener: ConnectionListener;
  readonly #frames = new FrameReader();
  readonly #pending = new Map<bigint, Pending>();
  #closed: string | undefined;

  constructor(socket: Duplex, listener: ConnectionListener) {
    this.#socket = socket;
    this.#listener = listener;
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("error", (error: Error) => this.close(messageOf(error)));
    socket.on("close", () => this.close("it ended"));
  }

  /** A number that no other request has, of this launcher or of an earlier one of the same daemon. */
  static nextSeq(): bigint {
    lastSeq += 1n;
    return lastSeq;
  }

  /**
   * Sends a request; resolves with the reply, be it an error or not. Rejects with `unavailable` when the connection
   * ends before, or after `timeoutMs`: a launcher that does not keep its own deadlines is lost, so that closes it.
   */
  request(options: {
    readonly type: number;
    readonly seq: bigint;
    readonly payload: Buffer;
    readonly what: string;
    readonly timeoutMs: number;
  }): Promise<Frame> {
    const { type, seq, payload, what, timeoutMs } = options;
    if (this.#closed !== undefined) return Promise.reject(lostDuring(what, this.#closed));
    const frame = encodeFrame(type, seq, payload);
    return new Promise((resolve, reject) => {
      // After a pause of the whole process the reply may be there, unread: look once more before giving up.
      const timer = setTimeout(() => setImmediate(() => this.#overdue(seq, what)), timeoutMs);
      this.#pending.set(seq, { what, type, timer, resolve, reject });
      this.#socket.write(frame);
      step("sent", what);
    });
  }

  /** Rejects what is in flight. The launcher sees the end, kills its operations and exits. */
  close(reason: string): void {
    if (this.#closed !== undefined) return;
    this.#closed = reason;
    this.#socket.destroy();
    for (const { what, timer, reject } of this.#pending.values()) {
      clearTimeout(timer);
      reject(lostDuring(what, reason));
    }
    this.#pending.clear();
    this.#listener.onClose(reason);
  }

  #overdue(seq: bigint, what: string): void {
    if (this.#pending.has(seq)) this.close(`no answer to ${what}`);
  }

  #receive(chunk: Buffer): void {
    if (this.#closed !== undefined) return;
    let frames: Frame[];
    try {
      frames = this.#frames.push(chunk);
    } catch (error) {
      this.close(messageOf(error));
      return;
    }
    for (const frame of frames) this.#dispatch(frame);
  }

  #dispatch(frame: Frame): void {
    const pending = this.#pending.get(frame.seq);
    if ((frame.type & REPLY) === 0) {
      step("received", () => `launcher event 0x${frame.type.toString(16)}`);
      this.#listener.onEvent(frame);
    } else if (pending?.type === (frame.type & ~REPLY)) {
      step("received", pending.what);
      this.#pending.delete(frame.seq);
      clearTimeout(pending.timer);
      pending.resolve(frame);
    }
  }
}

function lostDuring(what: string, reason: string): DomainError {
  return new DomainError("unavailable", `launcher lost during ${what}: ${reason}`);
}

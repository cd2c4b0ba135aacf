import { createConnection, type Socket } from "node:net";
import { step } from "../lib/steps.ts";
import { encodeFrame, FRAME_HEADER, FRAME_MAX, type Frame, REPLY } from "../lib/wire.ts";
import { nextSeq } from "./connection.ts";
import { FrameCutter } from "./frame-cutter.ts";
import { lost, MonitorError } from "./monitor-error.ts";
import { type Output, OutputQueue } from "./output-queue.ts";
import { decodeError, decodeHello, EVENT, encodeHello, MESSAGE } from "./protocol.ts";
import { decodeGap, decodeStreamExit, encodeResize, type StreamExit } from "./stream-protocol.ts";

export interface SessionRequest {
  /** Request and container, for messages and steps. */
  readonly what: string;
  readonly type: number;
  readonly payload: Buffer;
  /** How long the monitor may take to answer. */
  readonly answerMs: number;
}

export interface Endpoint {
  readonly socketPath: string;
  readonly epoch: bigint;
}

const INPUT_HEADER = FRAME_HEADER + 4;
const MOST_INPUT = FRAME_MAX - 4;

/**
 * An attach or a streaming exec, on a data connection of its own. Who opened it disposes it: the process of an exec and
 * what it started are killed then, an attach is left.
 */
export class MonitorSession implements Disposable {
  readonly #socket: Socket;
  readonly #request: SessionRequest;
  readonly #cutter: FrameCutter;
  readonly #output: OutputQueue;
  readonly #ended = Promise.withResolvers<StreamExit | undefined>();
  readonly #answered = Promise.withResolvers<void>();
  readonly #seq = nextSeq();
  #isOver = false;

  private constructor(endpoint: Endpoint, request: SessionRequest) {
    this.#request = request;
    this.#socket = createConnection(endpoint.socketPath);
    this.#output = new OutputQueue(this.#socket);
    this.#cutter = new FrameCutter({
      onOutput: (stream, data) => this.#output.push({ stream, data }),
      onFrame: (frame) => this.#receive(frame),
    });
    for (const { promise } of [this.#ended, this.#answered]) promise.catch(() => {}); // by every close, wanted or not
    this.#socket.on("data", (chunk: Buffer) => this.#read(chunk));
    this.#socket.on("error", () => undefined); // "close" follows and says it
    this.#socket.on("close", () => this.#broke("the connection broke"));
    this.#socket.write(encodeFrame(MESSAGE.hello, nextSeq(), encodeHello(endpoint.epoch, "data")));
    this.#socket.write(encodeFrame(request.type, this.#seq, request.payload));
    step("sent", request.what);
  }

  /** Resolves when the process runs, or the client is attached. Aborting ends it, and frees what was made. */
  static async open(endpoint: Endpoint, request: SessionRequest, signal: AbortSignal): Promise<MonitorSession> {
    signal.throwIfAborted();
    const session = new MonitorSession(endpoint, request);
    const abort = (): void => session[Symbol.dispose]();
    const timer = setTimeout(() => session.#broke("no answer in time"), request.answerMs);
    signal.addEventListener("abort", abort, { once: true });
    try {
      await session.#answered.promise;
      signal.throwIfAborted();
      return session;
    } catch (error) {
      session[Symbol.dispose]();
      signal.throwIfAborted();
      throw error;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    }
  }

  /** In the order of arrival; at most about 1 MiB is kept for a slow reader, and the monitor is held back by then. */
  get output(): AsyncIterable<Output> {
    return this.#output;
  }

  /** How an exec ended, or undefined for an attach; once all output was taken. Rejects with `MonitorError`: it broke. */
  get ended(): Promise<StreamExit | undefined> {
    return this.#ended.promise;
  }

  /** Resolves when more may be given. After the end nothing is sent any more. */
  async write(data: Buffer): Promise<void> {
    let isFlowing = true;
    for (let at = 0; at < data.length && this.#isOpen; at += MOST_INPUT) {
      const part = data.subarray(at, at + MOST_INPUT);
      this.#socket.cork();
      this.#socket.write(this.#inputHeader(part.length));
      isFlowing = this.#socket.write(part);
      this.#socket.uncork();
    }
    if (isFlowing || !this.#isOpen) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#socket.once("drain", resolve).once("close", resolve);
    await promise;
    this.#socket.off("drain", resolve).off("close", resolve);
  }

  endInput(): void {
    this.#tell(MESSAGE.stdinClose, Buffer.alloc(0));
  }

  resize(width: number, height: number): void {
    this.#tell(MESSAGE.resize, encodeResize(width, height));
  }

  [Symbol.dispose](): void {
    this.#output.discard();
    this.#broke("it was closed here");
  }

  get #isOpen(): boolean {
    return !this.#isOver && !this.#socket.destroyed;
  }

  #tell(type: number, payload: Buffer): void {
    if (this.#isOpen) this.#socket.write(encodeFrame(type, nextSeq(), payload));
  }

  #inputHeader(length: number): Buffer {
    const header = Buffer.allocUnsafe(INPUT_HEADER);
    header.writeUInt32LE(length + 4, 0);
    header.writeUInt16LE(MESSAGE.input, 4);
    header.writeUInt16LE(0, 6);
    header.writeBigUInt64LE(this.#seq, 8);
    header.writeUInt32LE(length, FRAME_HEADER);
    return header;
  }

  #read(chunk: Buffer): void {
    try {
      this.#cutter.push(chunk);
    } catch {
      this.#broke("the monitor does not keep to the protocol");
    }
  }

  #receive(frame: Frame): void {
    if ((frame.type & REPLY) !== 0) this.#reply(frame);
    else if (frame.type === EVENT.gap) this.#output.push(decodeGap(frame.payload));
    else if (frame.type === EVENT.execExit) this.#over(decodeStreamExit(frame.payload));
    else if (frame.type === EVENT.attachEnd) this.#over(undefined);
  }

  #reply(frame: Frame): void {
    if (frame.isError) this.#answered.reject(new MonitorError(this.#request.what, decodeError(frame.payload)));
    else if (frame.type === (MESSAGE.hello | REPLY)) decodeHello(frame.payload);
    else if (frame.seq === this.#seq) {
      step("received", this.#request.what);
      this.#answered.resolve();
    }
  }

  #over(exit: StreamExit | undefined): void {
    this.#isOver = true;
    this.#answered.reject(lost(this.#request.what, "it ended before it was answered")); // nothing, after the answer
    void this.#output.drained.then(() => this.#ended.resolve(exit));
    this.#output.end();
    this.#socket.destroy();
  }

  #broke(why: string): void {
    this.#socket.destroy();
    if (this.#isOver) return;
    this.#isOver = true;
    const error = lost(this.#request.what, why);
    this.#answered.reject(error);
    this.#ended.reject(error);
    this.#output.end();
  }
}

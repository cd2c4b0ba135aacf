import type { ReadGate } from "./read-gate.ts";

const STREAM_BYTES = 1024 * 1024;
/** Small pieces are collected in blocks: one kept by itself would keep the whole chunk that it was read in. */
const BLOCK_BYTES = 16 * 1024;

/** What one stream has received and nobody took yet. When it is full, its connection is not read. One reader. */
export class Inbox implements AsyncIterableIterator<Buffer, undefined> {
  readonly #gate: Pick<ReadGate, "account" | "hold" | "release">;
  #queue: Buffer[] = [];
  #block: { readonly bytes: Buffer; used: number } | undefined;
  #bytes = 0;
  #isHolding = false;
  #isOver = false;
  #waiting: ((result: IteratorResult<Buffer, undefined>) => void) | undefined;

  constructor(gate: Pick<ReadGate, "account" | "hold" | "release">) {
    this.#gate = gate;
  }

  /** Takes the next bytes, always. What comes after the end is dropped. */
  push(data: Buffer): void {
    if (this.#isOver || data.length === 0) return;
    if (this.#waiting !== undefined) this.#give({ done: false, value: data });
    else if (data.length < BLOCK_BYTES) this.#collect(data);
    else this.#keep(data);
  }

  /** Nothing more comes; the reader gets what there is. */
  end(): void {
    this.#isOver = true;
    this.#give({ done: true, value: undefined });
  }

  /** Drops all and ends. Who waits is told the end. */
  close(): void {
    this.end();
    this.#queue = [];
    this.#block = undefined;
    this.#account(-this.#bytes);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Buffer, undefined>> {
    const value = this.#take();
    if (value !== undefined) return Promise.resolve({ done: false, value });
    if (this.#isOver) return Promise.resolve({ done: true, value: undefined });
    const { promise, resolve } = Promise.withResolvers<IteratorResult<Buffer, undefined>>();
    this.#waiting = resolve;
    return promise;
  }

  /** The reader leaves early. */
  return(): Promise<IteratorResult<Buffer, undefined>> {
    this.close();
    return Promise.resolve({ done: true, value: undefined });
  }

  #give(result: IteratorResult<Buffer, undefined>): void {
    this.#waiting?.(result);
    this.#waiting = undefined;
  }

  #collect(data: Buffer): void {
    if (this.#block !== undefined && this.#block.used + data.length > BLOCK_BYTES) this.#closeBlock();
    if (this.#block === undefined) {
      this.#block = { bytes: Buffer.allocUnsafeSlow(BLOCK_BYTES), used: 0 };
      this.#account(BLOCK_BYTES);
    }
    this.#block.used += data.copy(this.#block.bytes, this.#block.used);
  }

  #keep(data: Buffer): void {
    this.#closeBlock();
    this.#queue.push(data);
    this.#account(data.length);
  }

  #closeBlock(): void {
    if (this.#block === undefined) return;
    this.#queue.push(this.#block.bytes.subarray(0, this.#block.used));
    this.#block = undefined;
  }

  #take(): Buffer | undefined {
    if (this.#queue.length === 0) this.#closeBlock();
    const data = this.#queue.shift();
    if (data !== undefined) this.#account(-Math.max(data.length, BLOCK_BYTES));
    return data;
  }

  #account(bytes: number): void {
    this.#bytes += bytes;
    this.#gate.account(bytes);
    if (!this.#isHolding && this.#bytes >= STREAM_BYTES) {
      this.#isHolding = true;
      this.#gate.hold();
    } else if (this.#isHolding && this.#bytes <= STREAM_BYTES / 2) {
      this.#isHolding = false;
      this.#gate.release();
    }
  }
}

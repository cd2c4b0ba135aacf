/** One piece of what a process said, or of what an attached client has missed of it. */
export type Output =
  | { readonly stream: "stdout" | "stderr"; readonly data: Buffer }
  | { readonly stream: "stdout" | "stderr"; readonly lostBytes: bigint };

/** The source is paused above, and goes on below. */
const FULL = 768 << 10;
const EMPTY = 256 << 10;
/** What a piece takes beside its bytes: a thousand small ones are not little. */
const OVERHEAD = 512;
/** Pieces that were taken are forgotten when they are so many, and most. */
const MANY = 128;

export interface Source {
  pause(): void;
  resume(): void;
}

/** Output that was received and not taken yet; its source is paused while that is much. For one reader. */
export class OutputQueue implements AsyncIterable<Output> {
  readonly #source: Source;
  #queue: Output[] = [];
  #taken = 0;
  #bytes = 0;
  #isPaused = false;
  #hasEnded = false;
  #wake: (() => void) | undefined;
  readonly #drained = Promise.withResolvers<void>();

  constructor(source: Source) {
    this.#source = source;
  }

  push(output: Output): void {
    if (this.#hasEnded) return;
    this.#queue.push(output);
    this.#bytes += sizeOf(output);
    if (this.#bytes > FULL && !this.#isPaused) {
      this.#isPaused = true;
      this.#source.pause();
    }
    this.#wake?.();
  }

  /** Nothing more comes; what is there can still be taken. */
  end(): void {
    this.#hasEnded = true;
    if (this.#taken === this.#queue.length) this.#drained.resolve();
    this.#wake?.();
  }

  /** Ends it, and forgets what is there. */
  discard(): void {
    this.#queue = [];
    this.#taken = 0;
    this.#bytes = 0;
    this.end();
  }

  /** Resolves when all was taken after the end. */
  get drained(): Promise<void> {
    return this.#drained.promise;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Output> {
    for (;;) {
      const next = this.#take();
      if (next !== undefined) yield next;
      else if (this.#hasEnded) return;
      else await this.#more();
    }
  }

  #more(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    return promise;
  }

  #take(): Output | undefined {
    const next = this.#queue[this.#taken];
    if (next === undefined) {
      this.#queue = [];
      this.#taken = 0;
      if (this.#hasEnded) this.#drained.resolve();
      return undefined;
    }
    this.#taken += 1;
    this.#bytes -= sizeOf(next);
    if (this.#taken >= MANY && this.#taken * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#taken);
      this.#taken = 0;
    }
    if (this.#isPaused && this.#bytes < EMPTY) {
      this.#isPaused = false;
      this.#source.resume();
    }
    return next;
  }
}

function sizeOf(output: Output): number {
  return OVERHEAD + ("data" in output ? output.data.length : 0);
}

import { closeSync, constants, fstatSync, openSync, write } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { hasCode } from "./errors.ts";

/** Writes all of some bytes, in its own time. Called again only when the last call has settled. */
export type Sink = (bytes: Buffer) => Promise<void>;

const maxPendingBytes = 1 << 20;

/**
 * Lines on their way to a reader that may be slow or dead. `line` never blocks and never throws: at most 1 MiB waits,
 * what comes then is dropped and counted, and the count is written once there is room.
 */
export class LogWriter implements AsyncDisposable {
  readonly #sink: Sink;
  readonly #reportDrops: (count: number) => string;
  #pending: string[] = [];
  #pendingBytes = 0;
  #dropped = 0;
  #running: Promise<void> | undefined;

  /** `reportDrops` makes the line that tells how many were dropped. */
  constructor(sink: Sink, reportDrops: (count: number) => string) {
    this.#sink = sink;
    this.#reportDrops = reportDrops;
  }

  /** Lines that nobody will ever read, since the start. */
  get dropped(): number {
    return this.#dropped;
  }

  line(text: string): void {
    const bytes = Buffer.byteLength(text) + 1;
    if (this.#pendingBytes + bytes > maxPendingBytes) {
      this.#dropped += 1;
      return;
    }
    this.#pending.push(text);
    this.#pendingBytes += bytes;
    this.#running ??= this.#drain();
  }

  /** Waits until all lines are written, at most two seconds. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#running === undefined) return;
    const enough = new AbortController();
    await Promise.race([this.#running, delay(2000, undefined, { signal: enough.signal }).catch(() => undefined)]);
    enough.abort();
  }

  async #drain(): Promise<void> {
    let reported = this.#dropped;
    while (this.#pending.length > 0) {
      const lines = this.#pending;
      const bytes = this.#pendingBytes;
      this.#pending = [];
      if (this.#dropped > reported) lines.push(this.#reportDrops(this.#dropped - reported));
      reported = this.#dropped;
      try {
        await this.#sink(Buffer.from(`${lines.join("\n")}\n`));
      } catch {
        this.#dropped += lines.length; // the reader is gone; there is nobody to tell
      }
      this.#pendingBytes -= bytes;
    }
    this.#running = undefined;
  }
}

const writeOnThreadPool = promisify(write);

/**
 * A sink for an open descriptor (2, as a rule). A pipe or terminal is opened a second time without blocking, which
 * leaves the descriptor that others share as it is; then a reader that stopped reading costs a retry every 100 ms.
 * A socket cannot be opened so: there a dead reader holds one thread of the pool, and the event loop still none.
 */
export function descriptorSink(fd: number): Sink {
  const own = reopened(fd) ?? fd;
  return async (bytes) => {
    for (let at = 0; at < bytes.length; ) {
      try {
        at += (await writeOnThreadPool(own, bytes, at)).bytesWritten;
      } catch (error) {
        if (!hasCode(error, "EAGAIN")) throw error;
        await delay(100, undefined, { ref: false });
      }
    }
  };
}

function reopened(fd: number): number | undefined {
  try {
    const stats = fstatSync(fd);
    if (!stats.isFIFO() && !stats.isCharacterDevice()) return undefined;
    const own = openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    if (fstatSync(own).ino === stats.ino) return own;
    closeSync(own);
  } catch {
    // no /proc, or no right to open it again (a terminal of another user): the descriptor itself has to do
  }
  return undefined;
}

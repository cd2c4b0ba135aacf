import { messageOf } from "./errors.ts";

export interface Retry {
  readonly key: string;
  readonly attempts: number;
  readonly lastError: string;
}

interface Pending {
  readonly work: () => Promise<void>;
  attempts: number;
  lastError: string;
  timer: NodeJS.Timeout | undefined;
  running: Promise<void> | undefined;
}

const CLOSE_MS = 5_000;

/** Work that must succeed some day and in nobody's way: tried at once, then with growing pauses until it does. */
export class Retries implements AsyncDisposable {
  readonly #pending = new Map<string, Pending>();
  readonly #report: (retry: Retry) => void;
  readonly #pauseMs: (attempts: number) => number;
  #closed = false;

  /** `report` is called after each failed attempt. */
  constructor(report: (retry: Retry) => void, pauseMs: (attempts: number) => number = doubling) {
    this.#report = report;
    this.#pauseMs = pauseMs;
  }

  /** Starts `work` now. A key that is pending already is tried again at once, with the work that it has. */
  add(key: string, work: () => Promise<void>): void {
    if (this.#closed) return;
    const pending = this.#pending.get(key) ?? {
      work,
      attempts: 0,
      lastError: "",
      timer: undefined,
      running: undefined,
    };
    this.#pending.set(key, pending);
    clearTimeout(pending.timer);
    pending.running ??= this.#attempt(key, pending);
  }

  snapshot(): readonly Retry[] {
    return [...this.#pending].map(([key, { attempts, lastError }]) => ({ key, attempts, lastError }));
  }

  /** Starts nothing any more and waits 5 s for what runs. What is left is found again at the next start. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    for (const { timer } of this.#pending.values()) clearTimeout(timer);
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, CLOSE_MS);
    await Promise.race([Promise.all([...this.#pending.values()].map(({ running }) => running)), late.promise]);
    clearTimeout(timer);
  }

  async #attempt(key: string, pending: Pending): Promise<void> {
    try {
      await pending.work();
      this.#pending.delete(key);
    } catch (error) {
      pending.attempts += 1;
      pending.lastError = messageOf(error);
      this.#report({ key, attempts: pending.attempts, lastError: pending.lastError });
      if (!this.#closed) pending.timer = setTimeout(() => this.add(key, pending.work), this.#pauseMs(pending.attempts));
      pending.timer?.unref();
    } finally {
      pending.running = undefined;
    }
  }
}

function doubling(attempts: number): number {
  return Math.min(60_000, 500 * 2 ** Math.min(attempts, 8));
}

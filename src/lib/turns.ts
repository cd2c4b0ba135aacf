import { DomainError } from "./errors.ts";

/** How many may work at once, in all and for one owner, and how many may wait. */
export interface TurnLimits {
  readonly atOnce: number;
  readonly perOwner: number;
  readonly waiting: number;
  /** What takes turns, for the message: "operations of the launcher". */
  readonly what: string;
}

interface Waiting {
  readonly owner: string;
  readonly go: () => void;
}

/** First come, first served, but an owner whose work hangs fills only its own share. */
export class Turns {
  readonly #limits: TurnLimits;
  readonly #working = new Map<string, number>();
  readonly #waiting: Waiting[] = [];
  #atOnce = 0;

  constructor(limits: TurnLimits) {
    this.#limits = limits;
  }

  /**
   * Resolves with the turn; disposing of it ends it. Rejects with `resourceExhausted` at once when too many wait,
   * with the signal's reason when that aborts first.
   */
  async take(owner: string, signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    if (!this.#mayWork(owner)) await this.#wait(owner, signal);
    else this.#enter(owner);
    return { [Symbol.dispose]: () => this.#leave(owner) };
  }

  #mayWork(owner: string): boolean {
    return this.#atOnce < this.#limits.atOnce && (this.#working.get(owner) ?? 0) < this.#limits.perOwner;
  }

  #enter(owner: string): void {
    this.#atOnce += 1;
    this.#working.set(owner, (this.#working.get(owner) ?? 0) + 1);
  }

  #leave(owner: string): void {
    const left = (this.#working.get(owner) ?? 1) - 1;
    this.#atOnce -= 1;
    if (left > 0) this.#working.set(owner, left);
    else this.#working.delete(owner);
    const next = this.#waiting.findIndex((waiting) => this.#mayWork(waiting.owner));
    const [waiting] = next < 0 ? [] : this.#waiting.splice(next, 1);
    if (waiting === undefined) return;
    this.#enter(waiting.owner);
    waiting.go();
  }

  #wait(owner: string, signal: AbortSignal): Promise<void> {
    if (this.#waiting.length >= this.#limits.waiting) {
      const message = `${this.#waiting.length} ${this.#limits.what} wait for their turn already; try again later`;
      return Promise.reject(new DomainError("resourceExhausted", message));
    }
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(signal.reason);
      };
      const waiting: Waiting = {
        owner,
        go: () => {
          signal.removeEventListener("abort", abort);
          resolve();
        },
      };
      signal.addEventListener("abort", abort, { once: true });
      this.#waiting.push(waiting);
    });
  }
}

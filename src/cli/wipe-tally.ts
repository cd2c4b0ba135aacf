import { messageOf } from "../lib/errors.ts";

/** What a wipe removed, in numbers, and what it could not. */
export class WipeTally {
  readonly #counts = new Map<string, number>();
  readonly #report: (problem: string) => void;
  #problems = 0;
  #losses = 0;

  /** `report` is called with one line for each thing that is left or given up. */
  constructor(report: (problem: string) => void) {
    this.#report = report;
  }

  /** How many things are left. */
  get problems(): number {
    return this.#problems;
  }

  /** Nothing is left, and nothing was given up. */
  get isClean(): boolean {
    return this.#problems === 0 && this.#losses === 0;
  }

  add(what: string, count = 1): void {
    if (count > 0) this.#counts.set(what, (this.#counts.get(what) ?? 0) + count);
  }

  /** Something is no longer ours that may still exist elsewhere. */
  lost(what: string, error: unknown): void {
    this.#losses += 1;
    this.#report(`${what}: ${messageOf(error)}`);
  }

  failed(what: string, error: unknown): void {
    this.#problems += 1;
    this.#report(`${what}: ${messageOf(error)}`);
  }

  /** Counts when `work` succeeds, notes the problem when it fails; resolves with whether it succeeded. */
  async attempt(what: string, name: string, work: () => Promise<unknown>): Promise<boolean> {
    try {
      await work();
      this.add(what);
      return true;
    } catch (error) {
      this.failed(name, error);
      return false;
    }
  }

  /** "removed 2 sandboxes, 3 containers" and whether anything is left, one line. */
  summary(): string {
    const parts = [...this.#counts].map(([what, count]) => `${count} ${what}`);
    const removed = parts.length === 0 ? "there was nothing to remove" : `removed ${parts.join(", ")}`;
    return `${removed}${this.#problems === 0 ? "" : `; ${this.#problems} could not be removed, run it again`}\n`;
  }
}

import { DomainError } from "../lib/errors.ts";
import type { Health } from "../monitor/events.ts";

/** What keeps a container from going on, as its monitor sees it. */
export interface Trouble {
  readonly sandboxId: string;
  readonly containerId: string;
  readonly trouble: Exclude<Health["trouble"], "well">;
  readonly seconds: number;
}

type Log = (message: string, fields: Readonly<Record<string, string>>) => void;
interface Known extends Omit<Trouble, "seconds"> {
  readonly sinceMs: number;
  /** How long it had lasted when the log said so last. */
  readonly saidSeconds: number;
}

const WORDS: Readonly<Record<Trouble["trouble"], string>> = {
  "cannot end": "a container was killed and cannot end: a process of it waits in the kernel",
  "log hangs": "a container's log cannot be written: its disk does not answer",
};

const KINDS = ["cannot end", "log hangs"] as const satisfies readonly Trouble["trouble"][];

function keyOf(id: string, trouble: Trouble["trouble"]): string {
  return `${id} ${trouble}`;
}

/** Containers in trouble, from what their monitors tell until they are well again, have ended, or nobody can tell any more. */
export class Troubles {
  readonly #log: Log;
  readonly #nowMs: () => number;
  /** By container and trouble: one disk may hold up both its end and its log. */
  readonly #known = new Map<string, Known>();
  readonly #waiting = new Map<string, PromiseWithResolvers<never>>();

  constructor(log: Log, nowMs: () => number = () => performance.now()) {
    this.#log = log;
    this.#nowMs = nowMs;
  }

  tell(sandboxId: string, { id, trouble, seconds, of }: Health): void {
    if (trouble === "well") {
      const fields = { sandbox: sandboxId, container: id, seconds: String(seconds) };
      if (this.#forget(id, of)) this.#log("a container is well again", of === undefined ? fields : { ...fields, of });
      return;
    }
    const known = this.#known.get(keyOf(id, trouble));
    const isNews = known === undefined || seconds >= 2 * known.saidSeconds;
    if (isNews) this.#log(WORDS[trouble], { sandbox: sandboxId, container: id, seconds: String(seconds) });
    const saidSeconds = isNews ? seconds : known.saidSeconds;
    const sinceMs = this.#nowMs() - seconds * 1000;
    this.#known.set(keyOf(id, trouble), { sandboxId, containerId: id, trouble, sinceMs, saidSeconds });
    if (trouble === "cannot end") this.#giveUp(id);
  }

  /** Rejects with `unavailable` when it is known that this container does not end although it was killed. */
  cannotEnd(id: string): Promise<never> {
    const waiting = this.#waiting.get(id) ?? Promise.withResolvers<never>();
    waiting.promise.catch(() => {}); // by whoever waits, if somebody does
    this.#waiting.set(id, waiting);
    if (this.#known.has(keyOf(id, "cannot end"))) this.#giveUp(id);
    return waiting.promise;
  }

  /** It has ended or is gone: nobody waits for its end any more. */
  ended(id: string): void {
    this.#forget(id);
    this.#waiting.delete(id);
  }

  /** The monitor is gone, and what it kept is killed by other means. */
  lost(sandboxId: string): void {
    for (const [key, known] of this.#known) if (known.sandboxId === sandboxId) this.#known.delete(key);
  }

  list(): readonly Trouble[] {
    return [...this.#known.values()].map(({ sandboxId, containerId, trouble, sinceMs }) => {
      return { sandboxId, containerId, trouble, seconds: this.#secondsOf(sinceMs) };
    });
  }

  #giveUp(id: string): void {
    const { sinceMs } = this.#known.get(keyOf(id, "cannot end")) ?? { sinceMs: this.#nowMs() };
    const text =
      `container ${id} was killed ${this.#secondsOf(sinceMs)} s ago and cannot end: a process of it waits in the kernel ` +
      "(state D), as for a disk or a file server that does not answer; it ends when that does";
    this.#waiting.get(id)?.reject(new DomainError("unavailable", text, { fields: { container: id } }));
    this.#waiting.delete(id);
  }

  /** One trouble of a container, or all; true when there was one. */
  #forget(id: string, of?: Trouble["trouble"]): boolean {
    const over = of === undefined ? KINDS : [of];
    return over.filter((trouble) => this.#known.delete(keyOf(id, trouble))).length > 0;
  }

  #secondsOf(sinceMs: number): number {
    return Math.floor((this.#nowMs() - sinceMs) / 1000);
  }
}

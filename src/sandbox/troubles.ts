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

/** Containers in trouble, from what their monitors tell until they are well again, have ended, or nobody can tell any more. */
export class Troubles {
  readonly #log: Log;
  readonly #nowMs: () => number;
  readonly #known = new Map<string, Known>();
  readonly #waiting = new Map<string, PromiseWithResolvers<never>>();

  constructor(log: Log, nowMs: () => number = () => performance.now()) {
    this.#log = log;
    this.#nowMs = nowMs;
  }

  tell(sandboxId: string, { id, trouble, seconds }: Health): void {
    const fields = { sandbox: sandboxId, container: id, seconds: String(seconds) };
    if (trouble === "well") {
      if (this.#known.delete(id)) this.#log("a container is well again", fields);
      return;
    }
    const known = this.#known.get(id);
    // That it cannot end weighs more than what becomes of its log.
    if (trouble === "log hangs" && known?.trouble === "cannot end") return;
    const isNews = known?.trouble !== trouble || seconds >= 2 * known.saidSeconds;
    if (isNews) this.#log(WORDS[trouble], fields);
    const saidSeconds = isNews ? seconds : known.saidSeconds;
    this.#known.set(id, { sandboxId, containerId: id, trouble, sinceMs: this.#nowMs() - seconds * 1000, saidSeconds });
    if (trouble === "cannot end") this.#giveUp(id);
  }

  /** Rejects with `unavailable` when it is known that this container does not end although it was killed. */
  cannotEnd(id: string): Promise<never> {
    const waiting = this.#waiting.get(id) ?? Promise.withResolvers<never>();
    waiting.promise.catch(() => {}); // by whoever waits, if somebody does
    this.#waiting.set(id, waiting);
    if (this.#known.get(id)?.trouble === "cannot end") this.#giveUp(id);
    return waiting.promise;
  }

  ended(id: string): void {
    this.#known.delete(id);
    this.#waiting.delete(id);
  }

  /** The monitor is gone, and what it kept is killed by other means. */
  lost(sandboxId: string): void {
    for (const known of this.#known.values()) if (known.sandboxId === sandboxId) this.#known.delete(known.containerId);
  }

  list(): readonly Trouble[] {
    return [...this.#known.values()].map(({ sandboxId, containerId, trouble, sinceMs }) => {
      return { sandboxId, containerId, trouble, seconds: this.#secondsOf(sinceMs) };
    });
  }

  #giveUp(id: string): void {
    const { sinceMs } = this.#known.get(id) ?? { sinceMs: this.#nowMs() };
    const text =
      `container ${id} was killed ${this.#secondsOf(sinceMs)} s ago and cannot end: a process of it waits in the kernel ` +
      "(state D), as for a disk or a file server that does not answer; it ends when that does";
    this.#waiting.get(id)?.reject(new DomainError("unavailable", text, { fields: { container: id } }));
    this.#waiting.delete(id);
  }

  #secondsOf(sinceMs: number): number {
    return Math.floor((this.#nowMs() - sinceMs) / 1000);
  }
}

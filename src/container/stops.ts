import { orAborted } from "../lib/keyed-lock.ts";
import type { Exits } from "./exits.ts";

interface Stop {
  deadlineMs: number;
  timer: NodeJS.Timeout;
}

export interface StopsPorts {
  readonly kill: (id: string) => Promise<void>;
  readonly exits: Exits;
}

/** Containers on their way out: one deadline each, which a later and less patient call brings forward. */
export class Stops {
  readonly #ports: StopsPorts;
  readonly #stops = new Map<string, Stop>();

  constructor(ports: StopsPorts) {
    this.#ports = ports;
  }

  /**
   * Resolves when the container has ended; kills it when `graceMs` have passed. A caller that gives up stops waiting: the
   * deadline stands. `ask` sends the stop signal, once per container.
   */
  async stop(id: string, graceMs: number, ask: () => Promise<void>, signal?: AbortSignal): Promise<void> {
    const ended = this.#ports.exits.wait(id);
    const deadlineMs = performance.now() + graceMs;
    const running = this.#stops.get(id);
    if (running === undefined || deadlineMs < running.deadlineMs) {
      clearTimeout(running?.timer);
      const timer = setTimeout(() => void this.#kill(id), graceMs);
      this.#stops.set(id, { deadlineMs, timer });
      void ended.then(() => this.#forget(id));
    }
    if (graceMs === 0) await this.#kill(id);
    else if (running === undefined) await ask();
    await orAborted(ended, signal);
  }

  async #kill(id: string): Promise<void> {
    // A monitor that cannot be reached is being ended, and its containers with it.
    await this.#ports.kill(id).catch(() => {});
  }

  #forget(id: string): void {
    clearTimeout(this.#stops.get(id)?.timer);
    this.#stops.delete(id);
  }
}

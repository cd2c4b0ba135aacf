import { orAborted } from "../lib/or-aborted.ts";
import type { Exits } from "./exits.ts";

interface Stop {
  deadlineMs: number;
  timer: NodeJS.Timeout;
}

export interface StopsPorts {
  readonly kill: (id: string) => Promise<void>;
  readonly exits: Exits;
  /** Rejects when it is known that the container does not end although it was killed. */
  readonly cannotEnd: (id: string) => Promise<never>;
  /** A stop signal or a kill could not be sent. */
  readonly report: (id: string, error: unknown) => void;
}

/** A kill may get lost with the connection that carried it. */
const KILL_AGAIN_MS = 5_000;

/** Containers on their way out: one deadline each, which a later and less patient call brings forward. */
export class Stops {
  readonly #ports: StopsPorts;
  readonly #stops = new Map<string, Stop>();

  constructor(ports: StopsPorts) {
    this.#ports = ports;
  }

  /**
   * Resolves when the container has ended; kills it when `graceMs` have passed, again and again. A caller that gives up
   * stops waiting: the deadline stands, and so it does for one who is told that the container cannot end. `ask` sends the
   * stop signal, once per container; if it cannot, the kill follows at the deadline all the same.
   */
  async stop(id: string, graceMs: number, ask: () => Promise<void>, signal?: AbortSignal): Promise<void> {
    const ended = this.#ports.exits.wait(id);
    const deadlineMs = performance.now() + graceMs;
    const running = this.#stops.get(id);
    if (running === undefined || deadlineMs < running.deadlineMs) {
      clearTimeout(running?.timer);
      this.#stops.set(id, { deadlineMs, timer: this.#killIn(id, graceMs) });
    }
    if (running === undefined) {
      void ended.then(() => this.#forget(id));
      if (graceMs > 0) ask().catch((error: unknown) => this.#ports.report(id, error));
    }
    await orAborted(Promise.race([ended, this.#ports.cannotEnd(id)]), signal);
  }

  #killIn(id: string, ms: number): NodeJS.Timeout {
    return setTimeout(() => this.#kill(id), ms).unref();
  }

  #kill(id: string): void {
    const stop = this.#stops.get(id);
    if (stop === undefined) return;
    stop.timer = this.#killIn(id, KILL_AGAIN_MS);
    this.#ports.kill(id).catch((error: unknown) => this.#ports.report(id, error));
  }

  #forget(id: string): void {
    clearTimeout(this.#stops.get(id)?.timer);
    this.#stops.delete(id);
  }
}

import { setTimeout as delay } from "node:timers/promises";
import { DomainError, messageOf } from "../lib/errors.ts";
import { orAborted } from "../lib/or-aborted.ts";
import { Launcher, type LauncherOptions, type OperationInFlight } from "./launcher.ts";
import type { Operation, OperationOptions, Operations, RunRequest, RunResult } from "./operations.ts";

export interface SupervisorOptions extends LauncherOptions {
  /** A new launcher works: it watches nothing yet. */
  readonly onRestarted: () => void;
  /** The launcher died; what it did is rejected with `unavailable`, what comes waits for the new one. */
  readonly onLost: (reason: string) => void;
}

const FIRST_PAUSE_MS = 50;
const LAST_PAUSE_MS = 5_000;
/** How long who has no deadline of its own waits for a launcher that is being replaced. */
const PATIENCE_MS = 30_000;

/** The launcher, whichever process it is at the moment: one that dies is replaced, after it and its operations are gone. */
export class LauncherSupervisor implements Operations, AsyncDisposable {
  readonly #options: SupervisorOptions;
  readonly #closing = new AbortController();
  #current: Promise<Launcher>;
  #problem = "";

  private constructor(options: SupervisorOptions, first: Launcher) {
    this.#options = options;
    this.#current = Promise.resolve(first);
    this.#supervise(first);
  }

  /** Rejects as `Launcher.start` does: the first one must work. */
  static async start(options: SupervisorOptions): Promise<LauncherSupervisor> {
    return new LauncherSupervisor(options, await Launcher.start(options));
  }

  async run(request: RunRequest, signal?: AbortSignal): Promise<RunResult> {
    return (await this.#ready(request.what, request.deadlineMs, signal)).run(request, signal);
  }

  async perform(operations: readonly Operation[], options: OperationOptions): Promise<readonly Buffer[]> {
    return (await this.#ready(options.what, options.deadlineMs)).perform(operations, options);
  }

  /** Why nothing can be done at the moment; empty when it can. */
  get problem(): string {
    return this.#problem;
  }

  /** The one that works now, or will soon; rejects with `unavailable` when none does for half a minute. */
  get current(): Promise<Launcher> {
    return this.#ready("this", PATIENCE_MS);
  }

  async snapshot(): Promise<readonly OperationInFlight[]> {
    return (await this.#current).snapshot();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await (await this.#current.catch(() => undefined))?.[Symbol.asyncDispose]();
  }

  async #ready(what: string, deadlineMs: number, signal?: AbortSignal): Promise<Launcher> {
    if (this.#problem === "") return this.#current;
    const patience = new AbortController();
    const timer = setTimeout(() => {
      const message = `${what} waited ${deadlineMs / 1000} s for a launcher: ${this.#problem}`;
      patience.abort(new DomainError("unavailable", message));
    }, deadlineMs);
    try {
      const either = signal === undefined ? patience.signal : AbortSignal.any([signal, patience.signal]);
      return await orAborted(this.#current, either);
    } finally {
      clearTimeout(timer);
    }
  }

  #supervise(launcher: Launcher): void {
    void launcher.lost.then((reason) => {
      if (this.#closing.signal.aborted) return;
      this.#problem = `the launcher died (${reason}) and is being started again`;
      this.#options.onLost(reason);
      this.#current = this.#restart(launcher);
      // Who waits for it is told; with nobody waiting there is nobody to tell.
      this.#current.catch(() => undefined);
    });
  }

  async #restart(dead: Launcher): Promise<Launcher> {
    await dead[Symbol.asyncDispose]();
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(LAST_PAUSE_MS, pauseMs * 2)) {
      try {
        const launcher = await Launcher.start(this.#options);
        this.#problem = "";
        this.#supervise(launcher);
        this.#options.onRestarted();
        return launcher;
      } catch (error) {
        this.#problem = `the launcher cannot be started: ${messageOf(error)}`;
        this.#options.log(this.#problem);
        await delay(pauseMs, undefined, { signal: this.#closing.signal });
      }
    }
  }
}

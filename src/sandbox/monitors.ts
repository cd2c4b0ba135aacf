import { rm } from "node:fs/promises";
import { DomainError, messageOf } from "../lib/errors.ts";
import { orAborted } from "../lib/or-aborted.ts";
import { Monitor } from "../monitor/monitor.ts";
import { isMonitorError } from "../monitor/monitor-error.ts";
import type { MonitoredContainer, SeenExit } from "../monitor/monitored-container.ts";
import { logLoss } from "./log-loss.ts";
import { MemoryKills } from "./memory-kills.ts";
import type { Paths } from "./paths.ts";
import type { Ending, OrphanEnding, Process } from "./process.ts";
import { Records } from "./records.ts";
import { Troubles } from "./troubles.ts";

/** What monitors need of the launcher. */
export interface LauncherPort {
  startMonitor(options: {
    readonly sandboxId: string;
    readonly socketPath: string;
    readonly recordDir: string;
  }): Promise<Process>;
  /** The process's end is to be told by `Monitors.ended`. Rejects when it is gone already. */
  watch(key: string, process: Process): Promise<void>;
  unwatch(key: string): void;
  /** Gone already: nothing to do. */
  kill(process: Process, signal: number): Promise<void>;
  makeDirectories(sandboxId: string, dirs: readonly string[]): Promise<void>;
}

export interface MonitorsPorts {
  readonly launcher: LauncherPort;
  readonly paths: Paths;
  readonly epoch: bigint;
  readonly onExit: (sandboxId: string, exit: SeenExit) => void;
  /** The monitor has died: nobody reads its containers' output any more. */
  readonly onLost: (sandboxId: string) => void;
  readonly log: (message: string, fields: Readonly<Record<string, string>>) => void;
}

interface Watched {
  readonly key: string;
  readonly sandboxId: string;
  readonly process: Process;
  readonly ending: PromiseWithResolvers<Ending | undefined>;
  /** The monitor has told of its end. */
  isTold: boolean;
}

const CONNECT_MS = 5_000;
const KILL_MS = 10_000;
/** For how long a monitor may say nothing of an end that the launcher has seen. */
const SILENCE_MS = 15_000;
const SIGKILL = 9;
const CLD_KILLED = 2;

/** One monitor per sandbox: started, found again after a restart, ended; and what is known of processes whose monitor died. */
export class Monitors implements Disposable {
  readonly troubles: Troubles;
  readonly #ports: MonitorsPorts;
  readonly #memoryKills: MemoryKills;
  readonly #monitors = new Map<string, Monitor>();
  readonly #watched = new Map<string, Watched>();
  readonly #leaving = new Set<string>();
  /** Told when a monitor says that a container has ended. */
  readonly #exits = new Map<string, PromiseWithResolvers<void>>();

  constructor(ports: MonitorsPorts) {
    this.#ports = ports;
    this.troubles = new Troubles(ports.log);
    this.#memoryKills = new MemoryKills(ports.log);
  }

  async start(sandboxId: string): Promise<void> {
    const { launcher, paths } = this.#ports;
    const socketPath = paths.monitorSocket(sandboxId);
    const recordDir = paths.records(sandboxId);
    await launcher.makeDirectories(sandboxId, [recordDir]);
    const process = await launcher.startMonitor({ sandboxId, socketPath, recordDir });
    await this.#records(sandboxId).rememberMonitor(process);
    if ((await this.adopt(sandboxId)) === undefined) {
      throw new DomainError("unavailable", `the monitor of sandbox ${sandboxId} ended as soon as it was started`);
    }
  }

  /** Connects to the monitor that an earlier daemon started; `undefined` when it is gone. One that does not answer is ended. */
  async adopt(sandboxId: string): Promise<Monitor | undefined> {
    const { paths, epoch } = this.#ports;
    try {
      const monitor = await Monitor.connect({
        socketPath: paths.monitorSocket(sandboxId),
        epoch,
        onExit: (exit) => this.#told(sandboxId, exit),
        onLost: () => this.#lost(sandboxId),
        ...logLoss(sandboxId, this.#ports.log),
        onHealth: (health) => this.troubles.tell(sandboxId, health),
        onOom: (count) => this.#memoryKills.seen(sandboxId, count),
        signal: AbortSignal.timeout(CONNECT_MS),
      });
      this.#monitors.set(sandboxId, monitor);
      return monitor;
    } catch (error) {
      await this.#giveUp(sandboxId, error);
      return undefined;
    }
  }

  /** As `adopt`; resolves with what the monitor knows, or with `undefined` when it is gone or ended because it is silent. */
  async adoptAll(sandboxId: string): Promise<readonly MonitoredContainer[] | undefined> {
    const monitor = await this.adopt(sandboxId);
    try {
      const known = await monitor?.snapshot();
      for (const container of known ?? []) this.#memoryKills.found(container);
      return known;
    } catch (error) {
      await this.#giveUp(sandboxId, error);
      return undefined;
    }
  }

  /** How many are connected. */
  get count(): number {
    return this.#monitors.size;
  }

  find(sandboxId: string): Monitor | undefined {
    return this.#monitors.get(sandboxId);
  }

  /** Throws `unavailable` when it is lost: a retry finds the sandbox not ready. */
  require(sandboxId: string): Monitor {
    const monitor = this.#monitors.get(sandboxId);
    if (monitor !== undefined) return monitor;
    throw new DomainError("unavailable", `the monitor of sandbox ${sandboxId} is lost`, {
      fields: { sandbox: sandboxId },
    });
  }

  /** From now on `endOrphan` can tell how this process ended, whoever is its parent then. Watched already: nothing to do. */
  watch(key: string, sandboxId: string, process: Process): void {
    if (this.#watched.has(key)) return;
    const watched: Watched = { key, sandboxId, process, ending: Promise.withResolvers(), isTold: false };
    this.#watched.set(key, watched);
    this.#watch(watched);
  }

  /** The process that is watched under this key; throws `unavailable` when there is none. */
  processOf(key: string): Process {
    const watched = this.#watched.get(key);
    if (watched !== undefined) return watched.process;
    throw new DomainError("unavailable", `process ${key} is not running`);
  }

  /** Kills a process, whether its monitor answers or not. Gone already: nothing to do. */
  async kill(process: Process): Promise<void> {
    await this.#ports.launcher.kill(process, SIGKILL);
  }

  /** A new launcher has to be asked again. */
  watchAgain(): void {
    for (const watched of this.#watched.values()) this.#watch(watched);
  }

  unwatch(key: string): void {
    this.#memoryKills.forget(key);
    this.troubles.ended(key);
    if (this.#watched.delete(key)) this.#ports.launcher.unwatch(key);
  }

  /** A watched process has ended, as the launcher has seen or cannot see. */
  ended(key: string, ending: Ending | undefined): void {
    const watched = this.#watched.get(key);
    if (watched === undefined) return;
    watched.ending.resolve(ending);
    if (!watched.isTold) setTimeout(() => void this.#askOf(watched), SILENCE_MS).unref();
  }

  /**
   * The end of a process whose monitor is lost: its exit record if it has one, else it is killed, because nobody
   * reads its output any more. Resolves with its true status, or with undefined when that is our signal or unknown.
   */
  async endOrphan(sandboxId: string, key: string, process: Process): Promise<OrphanEnding | undefined> {
    const recorded = await this.#records(sandboxId).exit(key);
    if (recorded?.state === "exited") return recorded;
    this.watch(key, sandboxId, process);
    await this.#ports.launcher.kill(process, SIGKILL);
    const late = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => late.resolve(undefined), KILL_MS);
    const known = await Promise.race([this.#watched.get(key)?.ending.promise, late.promise]);
    clearTimeout(timer);
    return known?.siCode === CLD_KILLED && known.siStatus === SIGKILL ? undefined : known;
  }

  /**
   * The monitor need not remember a container any more whose processes were killed; waits until it has seen the end.
   * Unknown to it, or no monitor: nothing to do.
   */
  async forget(sandboxId: string, id: string): Promise<void> {
    const monitor = this.#monitors.get(sandboxId);
    if (monitor === undefined) return;
    const exit = Promise.withResolvers<void>();
    this.#exits.set(id, exit);
    try {
      const known = (await monitor.snapshot()).find((container) => container.id === id);
      if (known === undefined) return;
      if (known.state !== "exited") await orAborted(exit.promise, AbortSignal.timeout(KILL_MS));
      await monitor.ackExit(id);
      await monitor.release(id);
    } finally {
      this.#exits.delete(id);
    }
  }

  /** Ends the monitor of a sandbox whose containers have all ended and been acknowledged. Gone: nothing to do. */
  async end(sandboxId: string): Promise<void> {
    const monitor = this.#monitors.get(sandboxId) ?? (await this.adopt(sandboxId));
    this.#leaving.add(sandboxId);
    try {
      if (monitor !== undefined) await this.#shutDown(sandboxId, monitor);
      this.#lost(sandboxId);
      await rm(this.#ports.paths.records(sandboxId), { recursive: true, force: true });
      await rm(this.#ports.paths.monitorSocket(sandboxId), { force: true });
    } finally {
      this.#leaving.delete(sandboxId);
    }
  }

  /** Leaves all monitors to the next daemon: they and their containers go on. */
  [Symbol.dispose](): void {
    for (const [sandboxId, monitor] of this.#monitors) {
      this.#leaving.add(sandboxId);
      monitor.close();
    }
    this.#monitors.clear();
  }

  #watch({ key, sandboxId, process }: Watched): void {
    this.#ports.launcher.watch(key, process).catch((error: unknown) => {
      // A launcher that died meanwhile says nothing of the process: its successor is asked again.
      if (error instanceof DomainError && error.kind === "notFound") this.ended(key, undefined);
      else this.#ports.log("process is not watched", { sandbox: sandboxId, process: key, error: messageOf(error) });
    });
  }

  #told(sandboxId: string, exit: SeenExit): void {
    const watched = this.#watched.get(exit.id);
    if (watched !== undefined) watched.isTold = true;
    this.#exits.get(exit.id)?.resolve();
    this.troubles.ended(exit.id);
    this.#memoryKills.ended(exit);
    this.#ports.onExit(sandboxId, exit);
  }

  /** A monitor that knows nothing of an end is told of as lost, and so are those of its containers. */
  async #askOf(watched: Watched): Promise<void> {
    const { key, sandboxId } = watched;
    const monitor = this.#monitors.get(sandboxId);
    if (monitor === undefined || watched.isTold || this.#watched.get(key) !== watched) return;
    try {
      const known = (await monitor.snapshot()).find(({ id }) => id === key);
      if (known?.state === "exited" && !known.acked) this.#told(sandboxId, known);
    } catch (error) {
      // Its connection ends with it, and that tells the rest.
      if (this.#monitors.get(sandboxId) === monitor) await this.#giveUp(sandboxId, error);
    }
  }

  async #shutDown(sandboxId: string, monitor: Monitor): Promise<void> {
    try {
      // The pause process goes by the sandbox's id, and nobody stores its end.
      await this.forget(sandboxId, sandboxId);
      await monitor.shutdown();
    } catch (error) {
      if (!isMonitorError(error, "LOST")) throw error;
      await this.#giveUp(sandboxId, error);
      monitor.close();
    }
  }

  /** Ends a monitor that does not answer. Gone already, or taken by a newer daemon: nothing to do. */
  async #giveUp(sandboxId: string, reason: unknown): Promise<void> {
    this.#ports.log("monitor does not answer", { sandbox: sandboxId, error: messageOf(reason) });
    if (isMonitorError(reason, "STALE_EPOCH")) return;
    const process = await this.#records(sandboxId).monitor();
    if (process === undefined) return;
    await this.kill(process).catch((error: unknown) => {
      this.#ports.log("monitor is left", { sandbox: sandboxId, pid: String(process.pid), error: messageOf(error) });
    });
  }

  #records(sandboxId: string): Records {
    return new Records(this.#ports.paths.records(sandboxId));
  }

  #lost(sandboxId: string): void {
    this.#monitors.delete(sandboxId);
    this.troubles.lost(sandboxId);
    if (this.#leaving.has(sandboxId)) return;
    this.#ports.log("monitor is lost", { sandbox: sandboxId });
    this.#ports.onLost(sandboxId);
  }
}

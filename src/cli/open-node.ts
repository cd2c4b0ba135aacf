import { readFileSync } from "node:fs";
import { release } from "node:os";
import type { Config } from "../config/schema.ts";
import { LauncherSupervisor } from "../launcher/launcher-supervisor.ts";
import type { Operations } from "../launcher/operations.ts";
import type { Log } from "../lib/log.ts";
import { Paths } from "../sandbox/paths.ts";
import { Store } from "../state/store.ts";
import { DiskWalks } from "../stats/disk-walks.ts";
import type { StatsService } from "../stats/stats-service.ts";
import { type Daemon, startDaemon } from "./daemon.ts";
import type { DaemonParts } from "./daemon-parts.ts";
import { completeFeatures } from "./handler-features.ts";
import { type OwnImages, openImages } from "./images.ts";
import { LauncherEvents, monitorLauncher } from "./launcher-events.ts";
import { prepareHost } from "./prepare-host.ts";
import { findHandlers } from "./runtime-handlers.ts";
import { openStats } from "./stats.ts";

/** What has to be there before anything of a node is touched. */
export interface NodeOptions {
  readonly config: Config;
  readonly log: Log;
  /** Path of nacelle-native. */
  readonly binary: string;
  /** Outlives the node. */
  readonly store: Store;
  /** Puts itself between the network and the launcher, to see what plugins take. */
  readonly measurePlugins?: (operations: Operations) => Operations;
}

/** Everything of a node but its sockets. */
export interface OpenNode extends AsyncDisposable {
  readonly parts: DaemonParts;
  readonly daemon: Daemon;
  readonly images: OwnImages;
  readonly stats: StatsService;
}

/** Takes the state root. `purpose` names its user to whoever else wants it. Throws as `Store.open` does. */
export function openStore({ root }: Config, purpose: string): Store {
  const bootId = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  // Field 22, counted behind the command's name, which may hold anything.
  const startTime = readFileSync("/proc/self/stat", "utf8").split(") ").at(-1)?.split(" ")[19] ?? "";
  return Store.open({ root, bootId, owner: { pid: process.pid, startTime, listen: purpose } });
}

/**
 * Ends what an earlier daemon's launcher still does, finds monitors, containers and images again, and starts what works
 * in the background. In the order of its making; it is taken down in reverse.
 */
export async function openNode(options: NodeOptions): Promise<OpenNode> {
  const { config, log, binary, store, measurePlugins } = options;
  await using owned = new AsyncDisposableStack();
  const paths = new Paths(config);
  const launcherEvents = new LauncherEvents();
  const launcher = owned.use(await startLauncher(options, launcherEvents));
  const { host, cgroups } = owned.use(await prepareHost({ config, log, launcher, paths, binary }));
  const found = await findHandlers(config, paths, launcher);
  const trial = { operations: launcher, paths, cgroups, log, kernelRelease: release(), kernel: host.facts.kernel };
  const handlers = await completeFeatures(found, trial);
  for (const { problem } of handlers.list()) if (problem !== "") log.warn(problem);
  const walks = owned.use(diskWalks(config, launcher, log));
  const images = owned.use(await openImages({ config, store, launcher, log, written: () => walks.total() }));
  const parts: DaemonParts = {
    ...{ config, log, store, launcher, launcherEvents, monitorLauncher: monitorLauncher(launcher) },
    ...{ paths, host, cgroups, handlers, images: images.containers, snapshots: images.snapshots },
    plugins: measurePlugins?.(launcher) ?? launcher,
  };
  const daemon = owned.use(await startDaemon(parts));
  await images.service.recovered();
  const stats = owned.use(openStats(parts, daemon, walks));
  const kept = owned.move();
  return { parts, daemon, images, stats: stats.service, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

function diskWalks(config: Config, operations: LauncherSupervisor, log: Log): DiskWalks {
  return new DiskWalks({
    operations,
    intervalMs: config.stats.writableLayerInterval,
    now: () => Temporal.Now.instant(),
    report: (message, fields) => log.warn(message, fields),
  });
}

/** The launcher of this store's daemon; `events` is told what it sees. */
export function startLauncher(
  { config: { runDir }, log, binary, store }: NodeOptions,
  events: LauncherEvents,
): Promise<LauncherSupervisor> {
  return LauncherSupervisor.start({
    binary,
    runDir,
    epoch: BigInt(store.epoch),
    cgroup: cgroupOf(runDir),
    log: (line) => log.warn("launcher", { line }),
    onExited: ({ key, ending }) => events.onExited(key, ending),
    onLost: (reason) => log.error("the launcher died and is started again", { reason }),
    onRestarted: () => events.onRestarted(),
  });
}

/** One name per server on this host: two of them must not kill each other's operations. */
export function cgroupOf(runDir: string): string {
  return runDir === "/run/nacelle" ? "nacelle" : `nacelle${runDir.replace(/[^A-Za-z0-9]+/g, "-")}`.slice(0, 100);
}

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { access, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { checkConfig } from "../config/check.ts";
import { loadConfig } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { LauncherSupervisor } from "../launcher/launcher-supervisor.ts";
import { DomainError, messageOf } from "../lib/errors.ts";
import { Log, resolveFormat } from "../lib/log.ts";
import { descriptorSink, LogWriter } from "../lib/log-writer.ts";
import { Paths } from "../sandbox/paths.ts";
import { loadServices } from "../server/descriptor.ts";
import type { CallRecord } from "../server/handler.ts";
import { imageService } from "../server/image-service.ts";
import { listen } from "../server/listen.ts";
import { runtimeService } from "../server/runtime-service.ts";
import { Store } from "../state/store.ts";
import type { Command } from "./command.ts";
import { type Daemon, startDaemon } from "./daemon.ts";
import type { DaemonParts } from "./daemon-parts.ts";
import { exitCodeOf, exitCodes } from "./exit-codes.ts";
import { type OwnImages, openImages } from "./images.ts";
import { LauncherEvents, monitorLauncher } from "./launcher-events.ts";
import { NodeStatus } from "./node-status.ts";
import { prepareHost } from "./prepare-host.ts";
import { findHandlers } from "./runtime-handlers.ts";
import { nacelleVersion } from "./version-command.ts";

/** `nacelle serve`: runs until SIGTERM or SIGINT; then finishes calls in flight and leaves the pods running. */
export const serveCommand: Command = async ({ configFile, sets }, io) => {
  let config: Config;
  try {
    config = loadConfig({ ...(configFile === undefined ? {} : { file: configFile }), sets });
    checkConfig(config);
  } catch (error) {
    io.err(`nacelle serve: ${messageOf(error)}\n`);
    return exitCodes.badConfiguration;
  }
  await using writer = new LogWriter(descriptorSink(2), (count) => `log lines dropped: ${count}`);
  const log = Log.to({ ...logSettings(config), output: (line) => writer.line(line) });
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => stop.abort());
  try {
    await serve(config, log, stop.signal);
    return exitCodes.ok;
  } catch (error) {
    log.error("the server cannot run", { error: messageOf(error) });
    return exitCodeOf(error);
  }
};

/** Everything that the server is made of, in the order of its making; it is taken down in reverse. */
async function serve(config: Config, log: Log, signal: AbortSignal): Promise<void> {
  const binary = await nativeBinary();
  await using owned = new AsyncDisposableStack();
  await mkdir(config.runDir, { recursive: true, mode: 0o711 });
  const store = owned.use(openStore(config));
  const paths = new Paths(config);
  const launcherEvents = new LauncherEvents();
  const launcher = owned.use(await startLauncher(config, binary, store, launcherEvents, log));
  const { host, cgroups } = owned.use(await prepareHost({ config, log, launcher, paths, binary }));
  const handlers = await findHandlers(config, paths, launcher);
  for (const { problem } of handlers.list()) if (problem !== "") log.warn(problem);
  const images = owned.use(await openImages({ config, store, launcher, log }));
  const parts: DaemonParts = {
    ...{ config, log, store, launcher, launcherEvents, monitorLauncher: monitorLauncher(launcher) },
    ...{ paths, host, cgroups, handlers, images: images.containers, snapshots: images.snapshots },
  };
  const daemon = owned.use(await startDaemon(parts));
  await images.service.recovered();
  owned.use(keepHouse(store, log));
  owned.use(await serveCri(parts, daemon, images));
  log.info("ready", { listen: config.listen, version: nacelleVersion });
  if (!signal.aborted) await once(signal, "abort");
  log.info("stopping: calls in flight are finished, pods go on running");
}

function logSettings({ log }: Config) {
  return { level: log.level, format: resolveFormat(log.format, process.stderr.isTTY) };
}

function openStore({ root, listen: socket }: Config): Store {
  const bootId = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  // Field 22, counted behind the command's name, which may hold anything.
  const startTime = readFileSync("/proc/self/stat", "utf8").split(") ").at(-1)?.split(" ")[19] ?? "";
  return Store.open({ root, bootId, owner: { pid: process.pid, startTime, listen: socket } });
}

function startLauncher(
  { runDir }: Config,
  binary: string,
  store: Store,
  events: LauncherEvents,
  log: Log,
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

/** The store's housekeeping, whenever a second passed in which it was wanted. */
function keepHouse(store: Store, log: Log): Disposable {
  let running = false;
  const timer = setInterval(() => {
    if (running || !store.wantsQuiet) return;
    running = true;
    store
      .quiet()
      .catch((error: unknown) => log.error("the state cannot be written", { error: messageOf(error) }))
      .finally(() => {
        running = false;
      });
  }, 1_000);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function serveCri(
  { config, log, handlers, cgroups }: DaemonParts,
  daemon: Daemon,
  images: OwnImages,
): Promise<AsyncDisposable> {
  const definitions = loadServices();
  const status = new NodeStatus({
    config,
    cgroupDriver: cgroups.driver,
    handlers,
    network: () => daemon.network.status(),
    problem: () => "",
  });
  const observe = observer(log);
  const ports = { sandboxes: daemon.sandboxes, containers: daemon.containers, status };
  return listen({
    socket: config.listen,
    services: [
      runtimeService(definitions.runtime, ports, observe),
      imageService(definitions.image, images.service, observe),
    ],
  });
}

const QUIET = /^(?:List|Stream|Version|Status|.*Status$|.*Stats$|ImageFsInfo|RuntimeConfig)/;

/** What changes something is logged as it is; what a kubelet asks every second only when it fails, or to who debugs. */
function observer(log: Log): (call: CallRecord) => void {
  return ({ method, ms, error }) => {
    const fields = { method, ms: Math.round(ms) };
    if (error !== undefined) log.warn("call failed", { ...fields, error: messageOf(error) });
    else if (QUIET.test(method)) log.debug("call", fields);
    else log.info("call", fields);
  };
}

async function nativeBinary(): Promise<string> {
  const path = join(import.meta.dirname, "../../build/nacelle-native");
  try {
    await access(path);
    return path;
  } catch (error) {
    const message = `${path} is missing: run script/setup, or make -C native`;
    throw new DomainError("failedPrecondition", message, { cause: error, fields: { reason: "missingRequirement" } });
  }
}

import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { adminSocket, checkConfig } from "../config/check.ts";
import { type LoadOptions, loadConfig } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import type { Operations } from "../launcher/operations.ts";
import { DomainError, messageOf } from "../lib/errors.ts";
import { Log, resolveFormat } from "../lib/log.ts";
import { descriptorSink, LogWriter } from "../lib/log-writer.ts";
import { loadServices } from "../server/descriptor.ts";
import type { CallObserver } from "../server/handler.ts";
import { imageService } from "../server/image-service.ts";
import { listen } from "../server/listen.ts";
import { runtimeService } from "../server/runtime-service.ts";
import { claimSocket } from "../server/socket.ts";
import type { Store } from "../state/store.ts";
import type { StreamingServer } from "../streaming/streaming-server.ts";
import { type AdminPorts, AdminServer } from "./admin-server.ts";
import { callLog } from "./call-log.ts";
import type { Command } from "./command.ts";
import { exitCodeOf, exitCodes } from "./exit-codes.ts";
import { health } from "./health.ts";
import { MeasuredPlugins } from "./measured-plugins.ts";
import { Metrics } from "./metrics.ts";
import { MetricsServer } from "./metrics-server.ts";
import { nativeBinary, requireRoot } from "./native-binary.ts";
import { nodeGauges, processGauges } from "./node-gauges.ts";
import { nodeState } from "./node-state.ts";
import { NodeStatus } from "./node-status.ts";
import { notReady } from "./not-ready.ts";
import { type OpenNode, openNode, openStore } from "./open-node.ts";
import { reloadOnHangup } from "./reload.ts";
import { ServiceManager, takeSettings } from "./service-manager.ts";
import { startStreaming } from "./streaming.ts";
import { nacelleVersion } from "./version-command.ts";

const LATEST_END_MS = 3_000;

/**
 * `nacelle serve`: runs until SIGTERM or SIGINT; then finishes calls in flight and leaves the pods running. A second
 * signal ends it at once, which is as safe as a crash.
 */
export const serveCommand: Command = async ({ configFile, sets }, io) => {
  const options: LoadOptions = { ...(configFile === undefined ? {} : { file: configFile }), sets };
  let config: Config;
  try {
    config = loadConfig(options);
    checkConfig(config);
  } catch (error) {
    io.err(`nacelle serve: ${messageOf(error)}\n`);
    return exitCodes.badConfiguration;
  }
  try {
    await using writer = new LogWriter(descriptorSink(2), (count) => `log lines dropped: ${count}`);
    const log = Log.to({ ...logSettings(config), output: (line) => writer.line(line) });
    using _reload = reloadOnHangup(options, log, (changed) => log.configure(logSettings(changed)));
    await serve(config, log, firstSignal());
    endSoon();
    return exitCodes.ok;
  } catch (error) {
    // For a person, and so not in the log's format.
    io.err(`nacelle serve: ${messageOf(error)}\n`);
    const isConfig = error instanceof DomainError && error.kind === "invalidArgument";
    return isConfig ? exitCodes.badConfiguration : exitCodeOf(error);
  }
};

/** Work that was given up, like a stop with an hour of grace, must not keep the process. */
function endSoon(): void {
  setTimeout(() => process.exit(), LATEST_END_MS).unref();
}

/** Aborted by SIGTERM or SIGINT; the next of either does what it does to a process that knows nothing of signals. */
function firstSignal(): AbortSignal {
  const stop = new AbortController();
  const names = ["SIGINT", "SIGTERM"] as const;
  const onSignal = () => {
    for (const name of names) process.off(name, onSignal);
    stop.abort();
  };
  for (const name of names) process.on(name, onSignal);
  return stop.signal;
}

/** Everything that the server is made of, in the order of its making; it is taken down in reverse. */
async function serve(config: Config, log: Log, signal: AbortSignal): Promise<void> {
  requireRoot();
  const managed = takeSettings(process.env, process.pid);
  const binary = await nativeBinary();
  await using owned = new AsyncDisposableStack();
  await mkdir(config.runDir, { recursive: true, mode: 0o711 });
  const store = owned.use(openStore(config, config.listen));
  // Before the launcher is started: its fencing would end the operations of another server in this run directory.
  const admin = owned.use(await AdminServer.listen(adminSocket(config), notReady(config, "starting")));
  await claimSocket(config.listen);
  const metrics = owned.use(new Metrics());
  const measurePlugins = (operations: Operations) => new MeasuredPlugins(operations, metrics);
  const node = owned.use(await openNode({ config, log, binary, store, measurePlugins }));
  nodeGauges(metrics, node);
  owned.use(processGauges(metrics));
  owned.use(keepHouse(store, log));
  const streaming = owned.use(await startStreaming(node.parts, node.daemon));
  metrics.gauge(
    "nacelle_streaming_sessions",
    "Connections of exec, attach and port-forward.",
    () => streaming.sessions,
  );
  owned.use(await serveCri(node, streaming, callLog(log, metrics)));
  // First of all to end: whoever listens would otherwise keep the server waiting.
  owned.use(node.daemon.events);
  const ports = { launcher: node.parts.launcher, health: () => health(node.parts), log };
  const manager = owned.use(new ServiceManager(managed, ports));
  let phase = "ready";
  admin.serve(adminPorts(node, metrics, () => phase));
  if (config.metrics.listen !== "") owned.use(await serveMetrics(config.metrics.listen, metrics, log));
  log.info("ready", { listen: config.listen, version: nacelleVersion });
  await manager.ready(`serving ${config.listen}`);
  if (!signal.aborted) await once(signal, "abort");
  phase = "stopping";
  log.info("stopping: calls in flight are finished, pods go on running");
  await manager.stopping();
}

function logSettings({ log }: Config) {
  return { level: log.level, format: resolveFormat(log.format, process.stderr.isTTY) };
}

function adminPorts(node: OpenNode, metrics: Metrics, phase: () => string): AdminPorts {
  return {
    health: () =>
      phase() === "ready"
        ? health(node.parts)
        : Promise.reject(new DomainError("unavailable", `not ready: ${phase()}`)),
    metrics: () => metrics.read(),
    state: () => nodeState(node, phase()),
    importImages: (path, name, signal) => node.images.service.importDirectory(path, name, signal),
  };
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

async function serveMetrics(address: string, metrics: Metrics, log: Log): Promise<AsyncDisposable> {
  const server = await MetricsServer.listen(address, () => metrics.read());
  log.info("metrics", { listen: server.address });
  return server;
}

function serveCri(
  { parts, daemon, images, stats }: OpenNode,
  streaming: StreamingServer,
  observe: CallObserver,
): Promise<AsyncDisposable> {
  const { config, handlers, cgroups, launcher, store } = parts;
  const definitions = loadServices();
  const status = new NodeStatus({
    config,
    cgroupDriver: cgroups.driver,
    handlers,
    network: () => daemon.network.status(),
    problem: () => launcher.problem || store.problem,
  });
  const { sandboxes, containers, resources, checkpoints, events } = daemon;
  const ports = { sandboxes, containers, resources, checkpoints, events, stats, streaming, status };
  return listen({
    socket: config.listen,
    services: [
      runtimeService(definitions.runtime, ports, observe),
      imageService(definitions.image, images.service, observe),
    ],
  });
}

import { hostname } from "node:os";
import type { DebtAttachment } from "../cni/attachment.ts";
import { ConfigWatch, type ConfigWatchOptions } from "../cni/config-watch.ts";
import { DebtPayer } from "../cni/debts.ts";
import { admitNetwork } from "../cni/network-upkeep.ts";
import type { Checkpoints } from "../container/checkpoints.ts";
import { ContainerService, type ContainerServicePorts } from "../container/container-service.ts";
import { ContainerStore } from "../container/container-store.ts";
import { EventFeed } from "../container/event-feed.ts";
import { retainAgain } from "../container/held-images.ts";
import { monitorLost } from "../container/lost-monitor.ts";
import { recover } from "../container/recover.ts";
import type { ResourceUpdates } from "../container/resource-updates.ts";
import { growingClock } from "../lib/growing-clock.ts";
import { Retries } from "../lib/retries.ts";
import { Turns } from "../lib/turns.ts";
import type { SeenExit } from "../monitor/monitored-container.ts";
import { requireAppArmor } from "../oci/spec/apparmor.ts";
import { sandboxSysctls } from "../oci/spec/sysctls.ts";
import { Monitors } from "../sandbox/monitors.ts";
import { containerNamespaces } from "../sandbox/namespaces.ts";
import { Pause } from "../sandbox/pause.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { SandboxNetwork } from "../sandbox/sandbox-network.ts";
import { SandboxService, type SandboxServicePorts } from "../sandbox/sandbox-service.ts";
import { SandboxStore } from "../sandbox/sandbox-store.ts";
import type { DaemonParts } from "./daemon-parts.ts";
import { pauseSpec } from "./pause-spec.ts";
import { startCheckpoints, startResourceUpdates } from "./wire-resources.ts";

/** The domain, wired: every upward call of a lower folder is filled in here. */
export interface Daemon extends AsyncDisposable {
  readonly sandboxes: SandboxService;
  readonly containers: ContainerService;
  readonly resources: ResourceUpdates;
  readonly checkpoints: Checkpoints;
  readonly monitors: Monitors;
  readonly network: ConfigWatch;
  readonly debts: DebtPayer;
  readonly discards: Retries;
  readonly events: EventFeed;
}

/** Wires the services, makes memory tell the truth, and starts what works in the background. */
export async function startDaemon(parts: DaemonParts): Promise<Daemon> {
  const { config, log, store, launcher, plugins } = parts;
  await using owned = new AsyncDisposableStack();
  const network = owned.use(await watchNetwork(parts));
  const attachments = new SandboxNetwork({
    store,
    operations: plugins,
    network: () => network.current(),
    timeoutMs: config.cni.timeout,
    turns: cniTurns(config),
    onDebt: () => debts.wake(),
    log: (message, fields) => log.warn(message, fields),
  });
  // Last of all: what is being freed when the daemon ends still talks to them.
  const monitors = owned.use(new DisposableStack());
  const debts = owned.use(new DebtPayer(debtPorts(attachments, log)));
  const discards = owned.use(new Retries((retry) => log.warn("still to be freed", { ...retry })));
  const stores = { sandboxes: new SandboxStore(store), containers: new ContainerStore(store) };
  const events = owned.use(new EventFeed({ containers: stores.containers, now: growingClock(now) }));
  const services = wire(parts, stores, attachments, discards, events);
  monitors.use(services.monitors);
  // Before anything is undone, which gives images up.
  retainAgain(parts.images, stores.containers.list(), (message, fields) => log.warn(message, fields));
  await recover({
    ...parts,
    ...stores,
    ...services,
    discards,
    operations: launcher,
    network: attachments,
    ...recoverPorts(parts),
  });
  debts.wake();
  const resources = startResourceUpdates(parts, { ...stores, ...services });
  const checkpoints = startCheckpoints(parts, { ...stores, ...services });
  const kept = owned.move();
  return {
    sandboxes: services.sandboxService,
    containers: services.containerService,
    resources,
    checkpoints,
    monitors: services.monitors,
    network,
    debts,
    discards,
    events,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

type Stores = { readonly sandboxes: SandboxStore; readonly containers: ContainerStore };

type Fields = Readonly<Record<string, string>>;

const now = () => Temporal.Now.instant();

/** The services know each other only by ports; each is asked after all exist, so that their order here is free. */
function wire(parts: DaemonParts, stores: Stores, network: SandboxNetwork, discards: Retries, events: EventFeed) {
  const monitors: Monitors = wireMonitors(parts, {
    ended: (exit) => containerService.ended(exit.id, exit),
    sandboxLost: (id) => sandboxService.lost(id, "PauseExited"),
    monitorLost: (id) => {
      // Again and again: the launcher, which kills them, may have died with the monitor.
      discards.add(`containers of lost monitor ${id}`, () =>
        monitorLost({ monitors, ...stores, sandboxService, containerService, now }, id),
      );
    },
  });
  const sandboxService: SandboxService = wireSandboxes(parts, {
    sandboxes: stores.sandboxes,
    monitors,
    network,
    discards,
    events,
    containers: {
      abortCreations: (id) => containerService.abortCreations(id),
      killAll: (id) => containerService.killAll(id),
      removeAll: (id) => containerService.removeAll(id),
    },
  });
  const containerService: ContainerService = wireContainers(parts, {
    containers: stores.containers,
    monitors,
    discards,
    events,
    sandboxes: { get: (id) => sandboxService.get(id), byId: (id) => sandboxService.byId(id) },
  });
  return { monitors, sandboxService, containerService };
}

interface MonitorEvents {
  readonly ended: (exit: SeenExit) => void;
  readonly sandboxLost: (sandboxId: string) => void;
  readonly monitorLost: (sandboxId: string) => void;
}

function wireMonitors(
  { store, paths, log, launcherEvents, monitorLauncher }: DaemonParts,
  events: MonitorEvents,
): Monitors {
  const monitors = new Monitors({
    launcher: monitorLauncher,
    paths,
    epoch: BigInt(store.epoch),
    // The pause process goes by the sandbox's own id.
    onExit: (sandboxId, exit) => (exit.id === sandboxId ? events.sandboxLost(sandboxId) : events.ended(exit)),
    onLost: events.monitorLost,
    log: (message: string, fields: Fields) => log.warn(message, fields),
  });
  launcherEvents.onExited = (key, ending) => monitors.ended(key, ending);
  launcherEvents.onRestarted = () => monitors.watchAgain();
  return monitors;
}

type SandboxParts = Pick<SandboxServicePorts, "sandboxes" | "network" | "discards" | "events" | "containers"> & {
  readonly monitors: Monitors;
};

function wireSandboxes(parts: DaemonParts, sandboxParts: SandboxParts): SandboxService {
  const { store, launcher, paths, host, cgroups, handlers, config } = parts;
  const sysctls = sysctlsOf(config);
  const { monitors } = sandboxParts;
  const spec = pauseSpec(parts, sysctls);
  const cgroupDirs = (sandbox: Sandbox, id: string) => cgroups.directories(sandbox, id);
  const pause = new Pause({ operations: launcher, monitors, handlers, paths, spec, cgroupDirs });
  return new SandboxService({
    ...sandboxParts,
    store,
    operations: launcher,
    paths,
    handlers,
    now,
    pause,
    cgroups,
    sysctls,
    validate: (asked) => {
      sysctls({ config: asked });
      requireAppArmor(asked.apparmor, host.facts);
      cgroups.check(asked);
    },
    hostResolvConf: () => host.resolvConf,
    hostname: hostname(),
  });
}

type ContainerParts = Pick<ContainerServicePorts, "containers" | "monitors" | "discards" | "events" | "sandboxes">;

function wireContainers(parts: DaemonParts, containerParts: ContainerParts): ContainerService {
  const { store, launcher, paths, host, cgroups, handlers, images, snapshots, config, log } = parts;
  const { monitors } = containerParts;
  return new ContainerService({
    ...containerParts,
    store,
    operations: launcher,
    paths,
    handlers,
    now,
    images,
    snapshots,
    cgroupDirs: (sandbox, id) => cgroups.directories(sandbox, id),
    thaw: (sandbox, id) => cgroups.thaw(sandbox, id),
    cgroupsPath: (sandbox, id) => cgroups.specPath(sandbox, id),
    memoryCgroup: (sandbox, id) => cgroups.memoryDirectory(sandbox, id),
    unifiedCgroup: (sandbox, id) => cgroups.unifiedDirectory(sandbox, id),
    host: host.facts,
    hostname: hostname(),
    policy: host.policy,
    createMissingHostPaths: config.workload.createMissingHostPaths,
    logLimits: { ...config.logs, soft: config.logs.softLimit, hard: config.logs.hardLimit },
    sysctls: sysctlsOf(config),
    namespaces: (sandbox, asked) => containerNamespaces(paths, sandbox, asked, (id) => monitors.processOf(id).pid),
    notice: host.notice,
    execs: config.execSync,
    log: (message: string, fields: Fields) => log.warn(message, fields),
  });
}

function sysctlsOf({ workload }: DaemonParts["config"]) {
  const { unprivilegedPortStart, pingGroupRange } = workload;
  const policy = { unprivilegedPortStart, pingGroupRange };
  return ({ config }: Pick<Sandbox, "config">) => sandboxSysctls(config, policy);
}

async function watchNetwork({ config, launcher, log }: DaemonParts): Promise<ConfigWatch> {
  const { confDir, binDirs } = config.cni;
  let network: ConfigWatch | undefined;
  const tell = () => {
    if (network !== undefined) log.info("network", { ...network.status() });
  };
  const admit: ConfigWatchOptions["admit"] = (asked, signal) => admitNetwork(launcher, asked, 10_000, signal);
  network = await ConfigWatch.open({ confDir, binDirs, admit, onChange: tell });
  tell();
  return network;
}

function cniTurns({ cni }: DaemonParts["config"]): Turns {
  return new Turns({ atOnce: cni.maxConcurrent, perOwner: cni.maxConcurrent, waiting: 4_096, what: "network changes" });
}

function debtPorts(attachments: SandboxNetwork, log: DaemonParts["log"]) {
  return {
    debts: () => attachments.debts(),
    debt: (id: string) => attachments.debt(id),
    pay: attachments.pay.bind(attachments),
    paid: attachments.paid.bind(attachments),
    failed: async (debt: DebtAttachment) => {
      log.warn("network debt could not be paid", { sandbox: debt.sandboxId, error: debt.state.lastError });
      await attachments.failed(debt);
    },
    nowMs: () => Date.now(),
    jitter: () => Math.random(),
  };
}

function recoverPorts({ host, log }: DaemonParts) {
  return {
    mountinfo: host.mountinfo,
    now: () => Temporal.Now.instant(),
    log: (message: string, fields: Readonly<Record<string, string>>) => log.warn(message, fields),
  };
}

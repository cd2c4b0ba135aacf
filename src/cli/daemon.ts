import { hostname } from "node:os";
import { ConfigWatch } from "../cni/config-watch.ts";
import { DebtPayer } from "../cni/debts.ts";
import { admitNetwork } from "../cni/network-upkeep.ts";
import type { Config } from "../config/schema.ts";
import { ContainerService } from "../container/container-service.ts";
import { ContainerStore } from "../container/container-store.ts";
import { monitorLost } from "../container/lost-monitor.ts";
import { recover } from "../container/recover.ts";
import type { ImageService } from "../image/image-service.ts";
import type { LauncherSupervisor } from "../launcher/launcher-supervisor.ts";
import { messageOf } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { Retries } from "../lib/retries.ts";
import { sandboxSysctls } from "../oci/spec/sysctls.ts";
import type { Handlers } from "../sandbox/handlers.ts";
import { Monitors } from "../sandbox/monitors.ts";
import { containerNamespaces } from "../sandbox/namespaces.ts";
import type { Paths } from "../sandbox/paths.ts";
import { Pause } from "../sandbox/pause.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { SandboxNetwork } from "../sandbox/sandbox-network.ts";
import { SandboxService } from "../sandbox/sandbox-service.ts";
import { SandboxStore } from "../sandbox/sandbox-store.ts";
import type { Store } from "../state/store.ts";
import type { Cgroups } from "./cgroups.ts";
import type { Host } from "./host.ts";
import { pauseSpec } from "./pause-spec.ts";

export interface DaemonParts {
  readonly config: Config;
  readonly log: Log;
  readonly store: Store;
  readonly launcher: LauncherSupervisor;
  readonly paths: Paths;
  readonly host: Host;
  readonly cgroups: Cgroups;
  readonly handlers: Handlers;
  readonly images: ImageService;
}

/** The domain, wired: every upward call of a lower folder is filled in here. */
export interface Daemon extends AsyncDisposable {
  readonly sandboxes: SandboxService;
  readonly containers: ContainerService;
  readonly network: ConfigWatch;
  readonly debts: DebtPayer;
  readonly discards: Retries;
}

/** Wires the services, makes memory tell the truth, and starts what works in the background. */
export async function startDaemon(parts: DaemonParts): Promise<Daemon> {
  const { config, log, store, launcher } = parts;
  await using owned = new AsyncDisposableStack();
  const network = owned.use(await watchNetwork(parts));
  const attachments = new SandboxNetwork({
    store,
    operations: launcher,
    network: () => network.current(),
    timeoutMs: config.cni.timeout,
    log: (message, fields) => log.warn(message, fields),
  });
  const debts = owned.use(new DebtPayer(debtPorts(attachments)));
  const discards = owned.use(new Retries((retry) => log.warn("still to be freed", { ...retry })));
  const stores = { sandboxes: new SandboxStore(store), containers: new ContainerStore(store) };
  const services = wire(parts, stores, attachments, discards);
  await recover({
    ...parts,
    ...stores,
    ...services,
    operations: launcher,
    network: attachments,
    ...recoverPorts(parts),
  });
  for (const { id, imageId } of stores.containers.list()) parts.images.retain(id, imageId);
  debts.wake();
  const kept = owned.move();
  return {
    sandboxes: services.sandboxService,
    containers: services.containerService,
    network,
    debts,
    discards,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

type Stores = { readonly sandboxes: SandboxStore; readonly containers: ContainerStore };

function wire(parts: DaemonParts, stores: Stores, network: SandboxNetwork, discards: Retries) {
  const { config, log, store, launcher, paths, host, cgroups, handlers, images } = parts;
  const now = () => Temporal.Now.instant();
  const warn = (message: string, fields: Readonly<Record<string, string>>) => log.warn(message, fields);
  const monitors: Monitors = new Monitors({
    launcher: launcher.monitors,
    paths,
    epoch: BigInt(store.epoch),
    onExit: (sandboxId, exit) => {
      if (exit.id === sandboxId) void sandboxService.lost(sandboxId, "PauseExited");
      else containerService.ended(exit.id, exit);
    },
    onLost: (sandboxId) => {
      monitorLost({ monitors, ...stores, sandboxService, containerService, now }, sandboxId).catch((error: unknown) =>
        log.error("containers of a lost monitor may be left", { sandbox: sandboxId, error: messageOf(error) }),
      );
    },
    log: warn,
  });
  launcher.onExited = (key, ending) => monitors.ended(key, ending);
  launcher.onRestarted = () => monitors.watchAgain();
  const policy = {
    unprivilegedPorts: config.workload.unprivilegedPortStart === 0,
    pingGroupRange: config.workload.pingGroupRange,
  };
  const sysctls = (sandbox: Sandbox) => sandboxSysctls(sandbox.config, policy);
  const pause = new Pause({ operations: launcher, monitors, handlers, paths, spec: pauseSpec(parts, sysctls) });
  const cgroupDirs = (sandbox: Sandbox, id: string) => cgroups.directories(sandbox, id);
  const shared = { store, operations: launcher, paths, handlers, monitors, discards, now };
  const sandboxService: SandboxService = new SandboxService({
    ...shared,
    sandboxes: stores.sandboxes,
    network,
    pause,
    cgroups,
    sysctls,
    containers: {
      abortCreations: (id) => containerService.abortCreations(id),
      killAll: (id) => containerService.killAll(id),
      removeAll: (id) => containerService.removeAll(id),
    },
    validate: (asked) => {
      sandboxSysctls(asked, policy);
      cgroups.check(asked);
    },
    hostResolvConf: () => host.resolvConf,
  });
  const containerService: ContainerService = new ContainerService({
    ...shared,
    containers: stores.containers,
    images,
    snapshots: images.snapshots,
    sandboxes: { get: (id) => sandboxService.get(id), byId: (id) => sandboxService.byId(id) },
    cgroupDirs,
    cgroupsPath: (sandbox, id) => cgroups.specPath(sandbox, id),
    host: host.facts,
    hostname: hostname(),
    policy: host.policy,
    sysctls,
    namespaces: (sandbox, asked) => containerNamespaces(paths, sandbox, asked, (id) => monitors.processOf(id).pid),
    notice: host.notice,
    log: warn,
  });
  return { monitors, sandboxService, containerService };
}

async function watchNetwork({ config, launcher, log }: DaemonParts): Promise<ConfigWatch> {
  const { confDir, binDirs } = config.cni;
  const network: ConfigWatch = await ConfigWatch.open({
    confDir,
    binDirs,
    admit: (asked, signal) => admitNetwork(launcher, asked, 10_000, signal),
    onChange: () => log.info("network", { ...network?.status() }),
  });
  return network;
}

function debtPorts(attachments: SandboxNetwork) {
  return {
    debts: () => attachments.debts(),
    debt: (id: string) => attachments.debt(id),
    pay: attachments.pay.bind(attachments),
    paid: attachments.paid.bind(attachments),
    failed: attachments.failed.bind(attachments),
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

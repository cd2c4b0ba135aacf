import type { Operation, Operations } from "../launcher/operations.ts";
import type { FlightControl } from "../lib/flights.ts";
import type { IdMapping, SandboxConfig, UserNamespace } from "../oci/config.ts";
import { MS_NODEV, MS_NOEXEC, MS_NOSUID } from "../sys/mount-flags.ts";
import type { Paths } from "./paths.ts";
import type { PausePort } from "./pause.ts";
import type { Sandbox } from "./sandbox.ts";
import { hostsFile, resolvConf, sandboxHostname } from "./sandbox-files.ts";
import type { SandboxNetwork } from "./sandbox-network.ts";
import { rootOf, usersOf } from "./users.ts";

export interface BuildPorts {
  readonly operations: Operations;
  readonly network: Pick<SandboxNetwork, "attach">;
  readonly monitors: { start(sandboxId: string): Promise<void> };
  readonly cgroups: {
    ensureParent(sandbox: Sandbox): readonly Operation[];
    /** Where the cgroups of a sandbox that is made now belong. */
    parentOf(config: SandboxConfig): string;
  };
  readonly pause: PausePort;
  readonly paths: Paths;
  /** The host's resolv.conf, read at start-up and when it changes. */
  readonly hostResolvConf: () => Buffer;
  /** Of the host, for sandboxes in its UTS namespace. */
  readonly hostname: string;
  /** Pairs of a path below /proc/sys and a value. */
  readonly sysctls: (sandbox: Sandbox) => readonly (readonly [string, string])[];
}

const DEADLINE_MS = 20_000;
const SHM_SIZE = "64m";

/**
 * Makes everything that a sandbox holds in the kernel, what is independent side by side, and resolves with its
 * addresses. It frees nothing: on failure the caller releases the sandbox by its id, when all parts have settled,
 * so that nothing is made after it was freed.
 */
export async function buildSandbox(
  ports: BuildPorts,
  sandbox: Sandbox,
  control: FlightControl,
): Promise<readonly string[]> {
  const failed = new AbortController();
  const signal = AbortSignal.any([control.signal, failed.signal]);
  control.stage.enter("making the network namespace");
  const namespace = networkNamespace(ports, sandbox);
  const parts = [
    network(ports, sandbox, namespace, control, signal),
    processes(ports, sandbox, namespace, signal),
  ] as const;
  for (const part of parts) part.catch((error: unknown) => failed.abort(error));
  const [attachment, started] = await Promise.allSettled(parts);
  const [first] = [attachment, started].filter((part) => part.status === "rejected");
  control.signal.throwIfAborted();
  if (first !== undefined) throw firstCause(failed.signal, first.reason);
  return attachment.status === "fulfilled" ? attachment.value : [];
}

/** The error that came first: what it aborted rejects with it too, or with a consequence of it. */
function firstCause(failed: AbortSignal, otherwise: unknown): unknown {
  return failed.aborted ? failed.reason : otherwise;
}

/** What the CNI plugins and the pause process both wait for. */
async function networkNamespace(ports: BuildPorts, sandbox: Sandbox): Promise<void> {
  const { operations, paths, sysctls: all } = ports;
  if (sandbox.config.namespaces.network === "node") return;
  const net = paths.netns(sandbox.id);
  const sysctls = all(sandbox).filter(([path]) => isNetworkSysctl(path));
  const users = usersOf(sandbox.config);
  const make: readonly Operation[] =
    users === undefined ? [{ op: "namespaces", net, sysctls }] : namespacesOfUsers(ports, sandbox, users);
  await operations.perform(make, { owner: sandbox.id, what: "making the network namespace", deadlineMs: DEADLINE_MS });
}

/**
 * A user namespace first and all others inside it: only what owns the network and IPC namespaces may mount /sys and
 * /dev/mqueue of them.
 */
function namespacesOfUsers(
  { paths, sysctls }: BuildPorts,
  sandbox: Sandbox,
  { uids, gids }: UserNamespace,
): readonly Operation[] {
  const { id, config } = sandbox;
  const user = paths.inSandbox(id, "user");
  const hostname = sandboxHostname(config);
  const map = ({ containerId, hostId, length }: IdMapping) => `${containerId} ${hostId} ${length}`;
  return [
    { op: "mkdir", path: paths.sandbox(id), mode: 0o755, parents: true },
    { op: "userNamespace", path: user, uidMap: map(uids), gidMap: map(gids) },
    {
      ...{ op: "namespaces", user, net: paths.netns(id), ipc: paths.inSandbox(id, "ipc"), sysctls: sysctls(sandbox) },
      ...(hostname === undefined ? {} : { uts: paths.inSandbox(id, "uts"), hostname }),
    },
  ];
}

async function network(
  { network: attachments }: BuildPorts,
  sandbox: Sandbox,
  namespace: Promise<void>,
  { stage }: FlightControl,
  signal: AbortSignal,
): Promise<readonly string[]> {
  await namespace;
  if (sandbox.config.namespaces.network === "node") return [];
  signal.throwIfAborted();
  stage.enter("waiting for the CNI plugins (ADD)");
  return attachments.attach(sandbox.id, signal);
}

async function processes(
  ports: BuildPorts,
  sandbox: Sandbox,
  namespace: Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const { operations, monitors, pause, cgroups } = ports;
  const deadlineMs = DEADLINE_MS;
  await allSettled([
    operations.perform(files(ports, sandbox), { owner: sandbox.id, what: "writing the sandbox's files", deadlineMs }),
    operations.perform(cgroups.ensureParent(sandbox), {
      owner: sandbox.id,
      what: "making the cgroup parent",
      deadlineMs,
    }),
    monitors.start(sandbox.id),
    namespace,
  ]);
  signal.throwIfAborted();
  if (pause.isNeeded(sandbox)) await pause.start(sandbox, signal);
}

/** Rejects as the first that rejects does, but not before all have settled: what goes on would outlive its own undoing. */
async function allSettled(parts: readonly Promise<unknown>[]): Promise<void> {
  await Promise.allSettled(parts);
  await Promise.all(parts);
}

/** Files, shm and the namespaces that are not the network's, in one go. */
function files(ports: BuildPorts, sandbox: Sandbox): readonly Operation[] {
  const { paths, hostResolvConf, sysctls } = ports;
  const { id, config } = sandbox;
  const at = (name: "shm" | "hosts" | "hostname" | "resolv.conf") => paths.inSandbox(id, name);
  const hostname = sandboxHostname(config);
  const dns = resolvConf(config.dns);
  const { uid, gid } = rootOf(config);
  const write = (path: string, data: Buffer): readonly Operation[] => [
    { op: "writeFile", path, mode: 0o644, data },
    ...(uid === 0 && gid === 0 ? [] : [{ op: "chown", path, uid, gid } as const]),
  ];
  const shm: readonly Operation[] = [
    { op: "mkdir", path: at("shm"), mode: 0o1777 },
    {
      op: "mount",
      source: "shm",
      target: at("shm"),
      type: "tmpfs",
      flags: MS_NOSUID | MS_NODEV | MS_NOEXEC,
      data: `mode=1777,size=${SHM_SIZE},uid=${uid},gid=${gid}`,
    },
  ];
  return [
    { op: "mkdir", path: paths.sandbox(id), mode: 0o755, parents: true },
    ...namespaces(paths, sandbox, hostname, sysctls(sandbox)),
    ...(config.namespaces.ipc === "node" ? [] : shm),
    ...write(at("hosts"), Buffer.from(hostsFile(config))),
    ...write(at("hostname"), Buffer.from(`${hostname ?? ports.hostname}\n`)),
    ...write(at("resolv.conf"), dns === undefined ? hostResolvConf() : Buffer.from(dns)),
  ];
}

/** Those of a user namespace are made with the network's. */
function namespaces(
  paths: Paths,
  { id, config }: Sandbox,
  hostname: string | undefined,
  all: readonly (readonly [string, string])[],
): readonly Operation[] {
  if (usersOf(config) !== undefined) return [];
  const sysctls = all.filter(([path]) => !isNetworkSysctl(path));
  const wanted = {
    ...(config.namespaces.ipc === "node" ? {} : { ipc: paths.inSandbox(id, "ipc"), sysctls }),
    ...(hostname === undefined ? {} : { uts: paths.inSandbox(id, "uts"), hostname }),
  };
  return Object.keys(wanted).length === 0 ? [] : [{ op: "namespaces", ...wanted }];
}

function isNetworkSysctl(path: string): boolean {
  return path.startsWith("net/");
}

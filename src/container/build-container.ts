import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Operation, Operations } from "../launcher/operations.ts";
import type { FlightControl } from "../lib/flights.ts";
import { orAborted } from "../lib/or-aborted.ts";
import type { LogLimits } from "../monitor/protocol.ts";
import type { ContainerConfig } from "../oci/config.ts";
import { pickOciVersion } from "../oci/handler.ts";
import { buildSpec } from "../oci/spec/build.ts";
import type { HostFacts, ImageVolume, NamespaceChoices, SpecPolicy } from "../oci/spec/input.ts";
import type { OciSpec } from "../oci/spec/types.ts";
import type { ResolvedUser } from "../oci/user.ts";
import type { Handlers } from "../sandbox/handlers.ts";
import type { Monitors } from "../sandbox/monitors.ts";
import { pidOwner } from "../sandbox/namespaces.ts";
import type { Paths } from "../sandbox/paths.ts";
import type { Process } from "../sandbox/process.ts";
import { createProcess } from "../sandbox/runtime-calls.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { sandboxHostname } from "../sandbox/sandbox-files.ts";
import { checkMapped, checkUsers, type PinnedUsers, pinnedUsers, rootOf, usersOf } from "../sandbox/users.ts";
import type { Container } from "./container.ts";
import type { HeldImages } from "./held-images.ts";
import { logLimits } from "./log-limits.ts";
import { requireMountpoints } from "./mountpoints.ts";
import { requireSameProcess } from "./pid-target.ts";
import { ensureWorkingDir, lookAround, type Surroundings } from "./surroundings.ts";
import { fillImageVolumes, mountImages } from "./volumes.ts";

export interface BuildPorts {
  readonly operations: Operations;
  readonly handlers: Handlers;
  readonly monitors: Monitors;
  readonly paths: Paths;
  readonly snapshots: {
    prepare(
      containerId: string,
      layerDirs: readonly string[],
      rootfs: string,
      users?: PinnedUsers,
    ): readonly Operation[];
    view(layerDirs: readonly string[], target: string, users?: PinnedUsers): readonly Operation[];
    remove(containerId: string): readonly Operation[];
  };
  readonly host: HostFacts;
  readonly hostname: string;
  readonly policy: SpecPolicy;
  readonly createMissingHostPaths: boolean;
  readonly cgroupsPath: (sandbox: Sandbox, id: string) => string;
  /** Directory of a container's cgroup where memory is accounted; empty where it is not. */
  readonly memoryCgroup: (sandbox: Sandbox, id: string) => string;
  /** Directory of a container's cgroup on a host with v2 alone; empty on others. */
  readonly unifiedCgroup: (sandbox: Sandbox, id: string) => string;
  /** The node's. */
  readonly logLimits: LogLimits;
  readonly namespaces: (sandbox: Sandbox, config: ContainerConfig) => NamespaceChoices;
  readonly sysctls: (sandbox: Sandbox) => readonly (readonly [string, string])[];
  /** Tells each notice once. */
  readonly notice: (text: string) => void;
}

export interface Build {
  readonly sandbox: Sandbox;
  readonly container: Container;
  readonly images: HeldImages;
}

const MOUNT_MS = 20_000;

/** Makes the root file system, looks at what is to be mounted, writes the bundle and has the process created. Frees nothing. */
export async function buildContainer(
  ports: BuildPorts,
  build: Build,
  control: FlightControl,
): Promise<{ readonly user: ResolvedUser; readonly process: Process }> {
  const { container, sandbox } = build;
  checkUsers(sandbox.config, container.config);
  const log = logLimits(ports.logLimits, sandbox.config, container.config);
  const users = pinnedUsers(ports.paths, sandbox);
  control.stage.enter("mounting the root file system");
  await mountRootfs(ports, build, users);
  await requireMountpoints(ports, container.id, rootOf(sandbox.config));
  await mountImages(ports, container, build.images.mounted, users);
  control.signal.throwIfAborted();

  control.stage.enter("filling the image's volumes");
  const root = rootOf(sandbox.config);
  const volumes = await fillImageVolumes(ports, container, build.images.root, root, control.signal);
  control.signal.throwIfAborted();

  control.stage.enter("looking at volumes and devices");
  // A volume that hangs holds up the looking, which ends by its own deadline, and nobody else.
  const found = await orAborted(lookAround(ports, build, build.images.root.config.user), control.signal);
  checkMapped(sandbox.config, found.user);
  control.signal.throwIfAborted();

  const owner = pidOwner(sandbox, container.config);
  const joined = owner === undefined ? undefined : ports.monitors.processOf(owner);
  const spec = makeSpec(ports, build, volumes, found);
  await writeBundle(ports, build, spec);
  control.signal.throwIfAborted();

  const { handler } = ports.handlers.requireOf(sandbox);
  control.stage.enter(`waiting for ${handler.name} create`);
  const call = {
    id: container.id,
    bundle: ports.paths.bundle(container.id),
    logPath: container.logPath,
    // Of the pipes that are its output, in the host's ids.
    uid: rootOf(sandbox.config).uid + found.user.uid,
    gid: rootOf(sandbox.config).gid + found.user.gid,
    stdin: container.config.stdin,
    stdinOnce: container.config.stdinOnce,
    terminal: container.config.tty,
    memoryCgroup: ports.memoryCgroup(sandbox, container.id),
    extras: { recordCopy: ports.paths.exitCopy(container.id), log, cgroup: execParent(ports, build) },
  };
  const process = await createProcess(ports.monitors.require(sandbox.id), handler, call, control.signal);
  ports.monitors.watch(container.id, sandbox.id, process);
  if (joined !== undefined) await requireSameProcess(ports.operations, container.id, joined);
  return { user: found.user, process };
}

/** One that can make cgroups itself could keep processes of an exec's, or the cgroup: its execs stay in its own. */
function execParent({ unifiedCgroup }: BuildPorts, { sandbox, container: { id, config } }: Build): string {
  const managesCgroups = config.security.privileged || usersOf(sandbox.config) !== undefined;
  return managesCgroups ? "" : unifiedCgroup(sandbox, id);
}

async function mountRootfs(
  ports: BuildPorts,
  { container: { id }, images }: Build,
  users: PinnedUsers | undefined,
): Promise<void> {
  const { operations, paths, snapshots } = ports;
  await operations.perform(
    [
      ...makeBundle(paths.bundle(id), users),
      { op: "mkdir", path: paths.rootfs(id), mode: 0o755 },
      ...snapshots.prepare(id, images.root.layerDirs, paths.rootfs(id), users),
    ],
    { owner: id, what: "mounting the root file system", deadlineMs: MOUNT_MS },
  );
}

/** Nobody but root may go through it; of a pod with ids of its own that root too, from where its runtime has joined it. */
function makeBundle(path: string, users: PinnedUsers | undefined): readonly Operation[] {
  if (users === undefined) return [{ op: "mkdir", path, mode: 0o700, parents: true }];
  return [
    { op: "mkdir", path, mode: 0o710, parents: true },
    { op: "chown", path, uid: 0, gid: users.gid },
  ];
}

function makeSpec(ports: BuildPorts, build: Build, volumes: readonly ImageVolume[], found: Surroundings): OciSpec {
  const { handlers, paths } = ports;
  const { sandbox, container, images } = build;
  const { id, config } = container;
  const { localhostProfile, ...rest } = found;
  const { spec, notices } = buildSpec({
    ...rest,
    containerId: id,
    sandboxId: sandbox.id,
    config,
    sandbox: sandbox.config,
    image: images.root.config,
    rootfs: paths.rootfs(id),
    hostname: sandboxHostname(sandbox.config) ?? ports.hostname,
    namespaces: ports.namespaces(sandbox, config),
    volumes,
    files: managedFiles(paths, sandbox),
    sysctls: ports.sysctls(sandbox),
    cgroupsPath: ports.cgroupsPath(sandbox, id),
    ...(localhostProfile === undefined ? {} : { localhostProfile }),
    runtime: runtimeFacts(handlers, sandbox),
    host: ports.host,
    policy: ports.policy,
  });
  for (const notice of notices) ports.notice(notice);
  return spec;
}

async function writeBundle(ports: BuildPorts, { sandbox, container: { id } }: Build, spec: OciSpec): Promise<void> {
  const { operations, paths } = ports;
  await Promise.all([
    writeFile(join(paths.bundle(id), "config.json"), JSON.stringify(spec), { mode: 0o600 }),
    // What exec starts from, without the rest of the spec: it is read for every exec.
    writeFile(join(paths.bundle(id), "process.json"), JSON.stringify(spec.process), { mode: 0o600 }),
    ensureWorkingDir(operations, id, { root: paths.rootfs(id), path: spec.process.cwd, owner: rootOf(sandbox.config) }),
  ]);
}

function runtimeFacts(handlers: Handlers, sandbox: Sandbox) {
  const { handler, features } = handlers.requireOf(sandbox);
  return { ociVersion: pickOciVersion(features), features, allowedAnnotations: handler.allowedAnnotations };
}

function managedFiles(paths: Paths, { id, config }: Sandbox) {
  return {
    resolvConf: paths.inSandbox(id, "resolv.conf"),
    hosts: paths.inSandbox(id, "hosts"),
    hostname: paths.inSandbox(id, "hostname"),
    shm: config.namespaces.ipc === "node" ? "/dev/shm" : paths.inSandbox(id, "shm"),
  };
}

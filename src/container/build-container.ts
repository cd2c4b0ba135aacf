import { writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Operation, Operations } from "../launcher/operations.ts";
import { hasCode, invalidArgument, messageOf } from "../lib/errors.ts";
import type { FlightControl } from "../lib/flights.ts";
import type { ContainerConfig, MountRequest } from "../oci/config.ts";
import { pickOciVersion } from "../oci/handler.ts";
import { canonicalSignal } from "../oci/signal.ts";
import { buildSpec } from "../oci/spec/build.ts";
import type { HostFacts, ImageConfig, NamespaceChoices, ResolvedMount, SpecPolicy } from "../oci/spec/input.ts";
import { imageVolumes } from "../oci/spec/mounts.ts";
import { type ResolvedUser, resolveUser } from "../oci/user.ts";
import type { Handlers } from "../sandbox/handlers.ts";
import type { Monitors, Process } from "../sandbox/monitors.ts";
import type { Paths } from "../sandbox/paths.ts";
import { createProcess } from "../sandbox/runtime-calls.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { sandboxHostname } from "../sandbox/sandbox-files.ts";
import type { Container } from "./container.ts";
import { hostDevices, resolveDevices } from "./host-devices.ts";

/** An image that cannot go away while this is held. */
export interface HeldImage extends Disposable {
  readonly id: string;
  readonly repoDigests: readonly string[];
  readonly config: ImageConfig;
  /** Bottom first. */
  readonly layerDirs: readonly string[];
}

export interface ContainerImages {
  /** Throws `notFound` when the image is not here. */
  acquire(reference: string): HeldImage;
  /** The container uses the image from now on, until `release`. */
  retain(containerId: string, imageId: string): void;
  release(containerId: string): void;
}

export interface BuildPorts {
  readonly operations: Operations;
  readonly handlers: Handlers;
  readonly monitors: Monitors;
  readonly paths: Paths;
  readonly snapshots: {
    prepare(containerId: string, layerDirs: readonly string[], rootfs: string): readonly Operation[];
    remove(containerId: string): readonly Operation[];
  };
  readonly host: HostFacts;
  readonly hostname: string;
  readonly policy: SpecPolicy;
  readonly cgroupsPath: (sandbox: Sandbox, id: string) => string;
  readonly namespaces: (sandbox: Sandbox, config: ContainerConfig) => NamespaceChoices;
  readonly sysctls: (sandbox: Sandbox) => readonly (readonly [string, string])[];
  /** Tells each notice once. */
  readonly notice: (text: string) => void;
}

export interface Plan {
  readonly id: string;
  readonly sandbox: Sandbox;
  readonly config: ContainerConfig;
  readonly image: HeldImage;
  readonly createdAt: Temporal.Instant;
}

export interface Build {
  readonly sandbox: Sandbox;
  readonly container: Container;
  readonly image: HeldImage;
}

const LOOK_MS = 20_000;
const MAX_PASSWD = 131_072;
const root: ResolvedUser = { uid: 0, gid: 0, supplementalGroups: [0] };

/** All that is known of a container before anything of it exists. */
export function planContainer({ id, sandbox, config, image, createdAt }: Plan): Container {
  const stopSignal = config.stopSignal === "" ? image.config.stopSignal : config.stopSignal;
  const { logDirectory } = sandbox.config;
  return {
    id,
    sandboxId: sandbox.id,
    config,
    createdAt,
    imageId: image.id,
    imageRef: image.repoDigests[0] ?? image.id,
    logPath: logDirectory === "" || config.logPath === "" ? "" : join(logDirectory, config.logPath),
    user: root,
    stopSignal: stopSignal === "" ? "SIGTERM" : canonicalSignal(stopSignal),
    state: { phase: "creating" },
  };
}

/** Makes the root file system, looks at what is to be mounted, writes the bundle and has the process created. Frees nothing. */
export async function buildContainer(
  ports: BuildPorts,
  build: Build,
  control: FlightControl,
): Promise<{ readonly user: ResolvedUser; readonly process: Process }> {
  const { operations, handlers, monitors, paths } = ports;
  const { sandbox, container, image } = build;
  const { id, config } = container;
  const { handler } = handlers.require(sandbox.runtimeHandler);

  control.stage.enter("mounting the root file system");
  const volumes = imageVolumes(
    image.config.volumes,
    config.mounts.map(({ containerPath }) => containerPath),
  ).map((containerPath, index) => ({ containerPath, hostPath: join(paths.writable(id), "volumes", String(index)) }));
  const prepare: readonly Operation[] = [
    { op: "mkdir", path: paths.bundle(id), mode: 0o700, parents: true },
    { op: "mkdir", path: paths.rootfs(id), mode: 0o755 },
    ...ports.snapshots.prepare(id, image.layerDirs, paths.rootfs(id)),
    ...volumes.map(({ hostPath }): Operation => ({ op: "mkdir", path: hostPath, mode: 0o755, parents: true })),
  ];
  await operations.perform(prepare, { owner: id, what: "mounting the root file system", deadlineMs: LOOK_MS });
  control.signal.throwIfAborted();

  control.stage.enter("looking at volumes and devices");
  const [user, mounts, devices, allDevices, localhostProfile] = await Promise.all([
    findUser(ports, build),
    Promise.all(config.mounts.map((mount, index) => resolveMount(operations, id, mount, index))),
    resolveDevices(operations, id, config.devices),
    config.security.privileged ? hostDevices(operations, id) : [],
    readProfile(operations, id, config),
    ensureLogDirectory(operations, container),
  ]);
  control.signal.throwIfAborted();

  const { spec, notices } = buildSpec({
    containerId: id,
    sandboxId: sandbox.id,
    config,
    sandbox: sandbox.config,
    image: image.config,
    rootfs: paths.rootfs(id),
    hostname: sandboxHostname(sandbox.config) ?? ports.hostname,
    user,
    namespaces: ports.namespaces(sandbox, config),
    mounts,
    volumes,
    devices,
    hostDevices: allDevices,
    files: managedFiles(paths, sandbox),
    sysctls: ports.sysctls(sandbox),
    cgroupsPath: ports.cgroupsPath(sandbox, id),
    ...(localhostProfile === undefined ? {} : { localhostProfile }),
    runtime: runtimeFacts(handlers, sandbox),
    host: ports.host,
    policy: ports.policy,
  });
  for (const notice of notices) ports.notice(notice);

  control.stage.enter(`waiting for ${handler.name} create`);
  await Promise.all([
    writeFile(join(paths.bundle(id), "config.json"), JSON.stringify(spec), { mode: 0o600 }),
    // What exec starts from, without the rest of the spec: it is read for every exec.
    writeFile(join(paths.bundle(id), "process.json"), JSON.stringify(spec.process), { mode: 0o600 }),
    ensureWorkingDir(operations, id, paths, spec.process.cwd),
  ]);
  const monitor = monitors.require(sandbox.id);
  const call = {
    id,
    bundle: paths.bundle(id),
    logPath: container.logPath,
    uid: user.uid,
    gid: user.gid,
    stdin: config.stdin,
  };
  const process = await createProcess(monitor, handler, call);
  monitors.watch(id, sandbox.id, process);
  return { user, process };
}

function runtimeFacts(handlers: Handlers, sandbox: Sandbox) {
  const { handler, features } = handlers.require(sandbox.runtimeHandler);
  return { ociVersion: pickOciVersion(features), features, allowedAnnotations: handler.allowedAnnotations };
}

function managedFiles(paths: Paths, { id, config }: Sandbox) {
  const ownName = config.namespaces.network === "pod";
  return {
    resolvConf: paths.inSandbox(id, "resolv.conf"),
    hosts: paths.inSandbox(id, "hosts"),
    hostname: ownName ? paths.inSandbox(id, "hostname") : "/etc/hostname",
    shm: config.namespaces.ipc === "node" ? "/dev/shm" : paths.inSandbox(id, "shm"),
  };
}

async function findUser(ports: BuildPorts, { container, image }: Build): Promise<ResolvedUser> {
  const { security } = container.config;
  const [passwd, group] = await Promise.all([
    readInRootfs(ports, container.id, "/etc/passwd"),
    readInRootfs(ports, container.id, "/etc/group"),
  ]);
  return resolveUser(security, image.config.user, passwd, group);
}

/** The text of a file of the image's; empty when it has none. */
async function readInRootfs({ operations, paths }: BuildPorts, id: string, path: string): Promise<string> {
  const read: Operation = { op: "readInRoot", root: paths.rootfs(id), path, max: MAX_PASSWD };
  try {
    const [text] = await operations.perform([read], {
      owner: id,
      what: `reading the image's ${path}`,
      deadlineMs: LOOK_MS,
    });
    return text?.toString() ?? "";
  } catch (error) {
    if (hasCode(error, "ENOENT") || hasCode(error, "ENOTDIR")) return "";
    throw error;
  }
}

/** Each on its own, so that the error of a dead volume names it. */
async function resolveMount(
  operations: Operations,
  owner: string,
  request: MountRequest,
  index: number,
): Promise<ResolvedMount> {
  const what = `looking at config.mounts[${index}].host_path ${JSON.stringify(request.hostPath)}`;
  try {
    // CRI: "If the hostpath is a symbolic link, runtimes should follow the symlink and mount the real destination".
    const [source] = await operations.perform([{ op: "realpath", path: request.hostPath }], {
      owner,
      what,
      deadlineMs: LOOK_MS,
    });
    return { request, source: source?.toString() ?? request.hostPath };
  } catch (error) {
    if (!hasCode(error, "ENOENT") && !hasCode(error, "ENOTDIR")) throw error;
    // CRI: "If the host path doesn't exist, then runtimes should report error".
    throw invalidArgument(
      `config.mounts[${index}].host_path ${JSON.stringify(request.hostPath)} does not exist on this node`,
    );
  }
}

async function readProfile(
  operations: Operations,
  owner: string,
  config: ContainerConfig,
): Promise<string | undefined> {
  const { seccomp, privileged } = config.security;
  if (seccomp.type !== "localhost" || privileged) return undefined;
  const read: Operation = { op: "readInRoot", root: "/", path: seccomp.localhostRef, max: MAX_PASSWD };
  try {
    const [text] = await operations.perform([read], {
      owner,
      what: "reading the seccomp profile",
      deadlineMs: LOOK_MS,
    });
    return text?.toString() ?? "";
  } catch (error) {
    throw invalidArgument(
      `security_context.seccomp.localhost_ref ${seccomp.localhostRef} cannot be read: ${messageOf(error)}`,
    );
  }
}

async function ensureLogDirectory(operations: Operations, { id, logPath }: Container): Promise<void> {
  if (logPath === "") return;
  const make: Operation = { op: "mkdir", path: dirname(logPath), mode: 0o755, parents: true };
  await operations.perform([make], { owner: id, what: "making the log directory", deadlineMs: LOOK_MS });
}

async function ensureWorkingDir(operations: Operations, owner: string, paths: Paths, cwd: string): Promise<void> {
  if (cwd === "/") return;
  const make: Operation = { op: "mkdirInRoot", root: paths.rootfs(owner), path: cwd, mode: 0o755 };
  await operations.perform([make], { owner, what: `making the working directory ${cwd}`, deadlineMs: LOOK_MS });
}

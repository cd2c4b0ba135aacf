import { dirname, posix } from "node:path";
import { OperationError } from "../launcher/operation-error.ts";
import type { Operation, Operations } from "../launcher/operations.ts";
import { DomainError, hasCode, invalidArgument, messageOf } from "../lib/errors.ts";
import type { ContainerConfig, MountRequest } from "../oci/config.ts";
import { LOADED_PROFILES } from "../oci/spec/apparmor.ts";
import type { HostFacts, ResolvedDevice, ResolvedMount } from "../oci/spec/input.ts";
import { type ResolvedUser, resolveUser } from "../oci/user.ts";
import type { Paths } from "../sandbox/paths.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import type { Container } from "./container.ts";
import { hostDevices, resolveDevices } from "./host-devices.ts";

interface LookPorts {
  readonly operations: Operations;
  readonly paths: Paths;
  readonly host: Pick<HostFacts, "apparmor">;
  /** Against the CRI's rule: a host path that is not there becomes a directory. */
  readonly createMissingHostPaths: boolean;
}

interface Look extends LookPorts {
  /** The container. */
  readonly owner: string;
  /** Where the sandbox's is pinned, if it has one. */
  readonly userNamespace: string;
}

/** What is really there of what a container asks for. */
export interface Surroundings {
  readonly user: ResolvedUser;
  readonly mounts: readonly ResolvedMount[];
  readonly devices: readonly ResolvedDevice[];
  /** Only for privileged containers. */
  readonly hostDevices: readonly ResolvedDevice[];
  readonly localhostProfile: string | undefined;
  /** Text of the kernel's list of AppArmor profiles; empty without AppArmor. */
  readonly loadedProfiles: string;
}

const LOOK_MS = 20_000;
/** Also of a seccomp profile: what the launcher answers at most. */
const MAX_FILE = 131_072;

/**
 * Looks at everything that somebody else owns: the image's files, volumes, devices, profiles. Each look is a child of the
 * launcher's with a deadline, and all go on side by side, so that one dead volume is named and holds up nobody else.
 */
export async function lookAround(
  ports: LookPorts,
  { sandbox, container }: { readonly sandbox: Sandbox; readonly container: Container },
  imageUser: string,
): Promise<Surroundings> {
  const { operations, paths, host } = ports;
  const { id, config } = container;
  const look = { ...ports, owner: id, userNamespace: paths.inSandbox(sandbox.id, "user") };
  const [user, mounts, devices, allDevices, localhostProfile, loadedProfiles] = await Promise.all([
    findUser(ports, container, imageUser),
    Promise.all(config.mounts.map((mount, index) => resolveMount(look, mount, index))),
    resolveDevices(operations, id, config.devices),
    config.security.privileged ? hostDevices(operations, id) : [],
    readProfile(operations, id, config),
    readLoadedProfiles(operations, id, host),
    ensureLogDirectory(operations, container),
  ]);
  return { user, mounts, devices, hostDevices: allDevices, localhostProfile, loadedProfiles };
}

async function findUser(ports: LookPorts, { id, config }: Container, imageUser: string): Promise<ResolvedUser> {
  const [passwd, group] = await Promise.all([
    readInRootfs(ports, id, "/etc/passwd"),
    readInRootfs(ports, id, "/etc/group"),
  ]);
  return resolveUser(config.security, imageUser, passwd, group);
}

/** The text of a file of the image's; empty when it has none. */
async function readInRootfs({ operations, paths }: LookPorts, id: string, path: string): Promise<string> {
  const read: Operation = { op: "readInRoot", root: paths.rootfs(id), path, max: MAX_FILE };
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
  { operations, paths, owner, userNamespace, createMissingHostPaths }: Look,
  request: MountRequest,
  index: number,
): Promise<ResolvedMount> {
  const { hostPath, image } = request;
  if (image !== undefined) return { request, source: paths.imageVolume(owner, index) };
  const field = `config.mounts[${index}].host_path`;
  const options = { owner, what: `looking at ${field} ${JSON.stringify(hostPath)}`, deadlineMs: LOOK_MS };
  // CRI: "If the hostPath doesn't exist, then runtimes should report error. If the hostpath is a symbolic link, runtimes
  // should follow the symlink and mount the real destination to container."
  const look: Operation = { op: "realpath", path: hostPath };
  const make: Operation = { op: "mkdir", path: hostPath, mode: 0o755, parents: true };
  try {
    const [source] = await operations.perform([look], options).catch((error: unknown) => {
      if (!createMissingHostPaths || !hasCode(error, "ENOENT") || isKernelPath(hostPath)) throw error;
      return operations.perform([make, look], options).then(([, made = Buffer.alloc(0)]) => [made]);
    });
    const path = source?.toString() ?? hostPath;
    // Before the runtime does, which does not say what is missing.
    const mapped = request.idMappings !== undefined;
    if (mapped) await operations.perform([{ op: "tryIdmap", user: userNamespace, path }], options);
    return { request, source: path };
  } catch (error) {
    if (isIdmapRefused(error)) throw cannotIdmap(index, request, error);
    throw refused(field, hostPath, error, missingRemedy(hostPath, createMissingHostPaths));
  }
}

function missingRemedy(hostPath: string, createMissingHostPaths: boolean): string {
  if (createMissingHostPaths || isKernelPath(hostPath)) return "";
  return "; make it, give the volume the type DirectoryOrCreate, or set workload.createMissingHostPaths";
}

function isIdmapRefused(error: unknown): error is OperationError {
  return error instanceof OperationError && error.syscall === "mount_setattr";
}

function cannotIdmap(index: number, { hostPath }: MountRequest, error: OperationError): DomainError {
  const field = `config.mounts[${index}].uidMappings`;
  const why = `the file system of ${JSON.stringify(hostPath)} cannot be id-mapped (${error.code})`;
  const remedy = "use another kind of volume, or a pod with the host's user namespace";
  return new DomainError("failedPrecondition", `${field}: ${why}: ${remedy}`, { cause: error });
}

/** Where what is missing is a device or a feature of this node's kernel, and no directory that can be made up for. */
function isKernelPath(path: string): boolean {
  return /^\/(dev|proc|sys)(\/|$)/.test(posix.normalize(path));
}

/** An invalid argument that names its field, when the path is at fault; else the error as it is. */
function refused(field: string, path: string, error: unknown, remedy = ""): unknown {
  const found = [...pathFaults].find(([code]) => hasCode(error, code));
  if (found === undefined) return error;
  const isMissing = found[0] === "ENOENT";
  return invalidArgument(`${field} ${JSON.stringify(path)} ${found[1]}${isMissing ? remedy : ""}`);
}

const pathFaults: ReadonlyMap<string, string> = new Map([
  ["ENOENT", "does not exist on this node"],
  ["ENOTDIR", "goes through what is no directory"],
  ["EEXIST", "exists and is no directory"],
  ["ELOOP", "is a loop of symbolic links"],
  ["ENAMETOOLONG", "is too long"],
]);

async function readProfile(
  operations: Operations,
  owner: string,
  config: ContainerConfig,
): Promise<string | undefined> {
  const { seccomp, privileged } = config.security;
  if (seccomp.type !== "localhost" || privileged) return undefined;
  const read: Operation = { op: "readInRoot", root: "/", path: seccomp.localhostRef, max: MAX_FILE };
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

async function readLoadedProfiles(operations: Operations, owner: string, host: LookPorts["host"]): Promise<string> {
  if (!host.apparmor) return "";
  const read: Operation = { op: "readInRoot", root: "/", path: LOADED_PROFILES, max: MAX_FILE };
  const options = { owner, what: "reading which AppArmor profiles are loaded", deadlineMs: LOOK_MS };
  const [text] = await operations.perform([read], options);
  return text?.toString() ?? "";
}

async function ensureLogDirectory(operations: Operations, { id, logPath }: Container): Promise<void> {
  if (logPath === "") return;
  const make: Operation = { op: "mkdir", path: dirname(logPath), mode: 0o755, parents: true };
  const options = { owner: id, what: "making the log directory", deadlineMs: LOOK_MS };
  await operations.perform([make], options).catch((error: unknown) => {
    throw refused("config.log_path", logPath, error);
  });
}

/** The directory that the process starts in: made if the image lacks it, as every runtime does. */
export async function ensureWorkingDir(
  operations: Operations,
  containerId: string,
  dir: {
    readonly root: string;
    readonly path: string;
    readonly owner: { readonly uid: number; readonly gid: number };
  },
): Promise<void> {
  const { path } = dir;
  if (path === "/") return;
  const options = { owner: containerId, what: `making the working directory ${path}`, deadlineMs: LOOK_MS };
  await operations.perform([{ op: "mkdirInRoot", mode: 0o755, ...dir }], options).catch((error: unknown) => {
    throw refused("config.working_dir", path, error);
  });
}

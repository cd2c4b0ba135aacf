import { DomainError, failedPrecondition, invalidArgument } from "../../lib/errors.ts";
import type { IdMapping, MountRequest, UserNamespace } from "../config.ts";
import type { ResolvedMount, Section, SpecInput } from "./input.ts";
import { cleanPath, cleanTarget, depth } from "./path.ts";
import type { OciIdMapping, OciLinux, OciMount } from "./types.ts";

export interface Mounts {
  readonly mounts: readonly OciMount[];
  readonly rootfsPropagation: OciLinux["rootfsPropagation"];
}

/**
 * All mounts of a container, parents before children. A mount of the request replaces ours at the same path; one on /dev
 * replaces all of ours below it too, because it brings its own. Throws `invalidArgument` or `failedPrecondition` naming the mount.
 */
export function buildMounts(input: SpecInput): Section<Mounts> {
  const requested = input.mounts.map((mount, index) => fromRequest(mount, `mounts[${index}]`, input));
  const taken = new Set(requested.map((mount) => mount.destination));
  const volumes = input.volumes
    .map((volume) => bind(volume.hostPath, cleanTarget(volume.containerPath, "image volume"), ["rw", "rprivate"]))
    .filter((mount) => !taken.has(mount.destination));
  const ours = [...kernelMounts(input), ...fileMounts(input)].filter(
    ({ destination }) => !taken.has(destination) && !(taken.has("/dev") && destination.startsWith("/dev/")),
  );
  const mounts = [...ours, ...volumes, ...requested].toSorted((a, b) => depth(a.destination) - depth(b.destination));
  const notices = [...relabelNotices(input), ...partNotices(input)];
  return { value: { mounts, rootfsPropagation: rootPropagation(input.mounts) }, notices };
}

/** Container paths of volumes that only the image declares, sorted and unique: the caller makes a directory for each. */
export function imageVolumes(volumes: readonly string[], requested: readonly string[]): readonly string[] {
  const taken = new Set(requested.map(cleanPath));
  const paths = volumes.map((path) => cleanTarget(path, "the image's volume"));
  return [...new Set(paths)].filter((path) => !taken.has(path)).toSorted((a, b) => (a < b ? -1 : 1));
}

function kernelMounts({ config }: SpecInput): readonly OciMount[] {
  const access = config.security.privileged ? "rw" : "ro";
  const closed = ["nosuid", "noexec", "nodev"];
  return [
    { destination: "/proc", type: "proc", source: "proc", options: closed },
    {
      destination: "/dev",
      type: "tmpfs",
      source: "tmpfs",
      options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    { destination: "/sys", type: "sysfs", source: "sysfs", options: [...closed, access] },
    {
      destination: "/dev/pts",
      type: "devpts",
      source: "devpts",
      options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: closed },
    { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: [...closed, "relatime", access] },
  ];
}

function fileMounts({ config, files }: SpecInput): readonly OciMount[] {
  const access = config.security.readonlyRootfs ? "ro" : "rw";
  const sources: readonly (readonly [string, string, string])[] = [
    [files.hosts, "/etc/hosts", access],
    [files.hostname, "/etc/hostname", access],
    [files.resolvConf, "/etc/resolv.conf", access],
    [files.shm, "/dev/shm", "rw"],
  ];
  return sources
    .filter(([source]) => source !== "")
    .map(([source, target, mode]) => bind(source, target, [mode, "rprivate", "nosuid", "nodev", "noexec"]));
}

function bind(source: string, destination: string, options: readonly string[]): OciMount {
  return { destination, type: "bind", source, options: ["rbind", ...options] };
}

const PROPAGATION = { private: "rprivate", hostToContainer: "rslave", bidirectional: "rshared" } as const;

function fromRequest({ request, source, sourcePropagation }: ResolvedMount, field: string, input: SpecInput): OciMount {
  const destination = cleanTarget(request.containerPath, `${field}.container_path`);
  if (!source.startsWith("/") || source.includes("\0")) {
    throw invalidArgument(`${field}.host_path ${JSON.stringify(source.slice(0, 200))} is not absolute`);
  }
  if (destination === "/dev" && source !== "/dev" && !input.config.security.privileged) {
    throw invalidArgument(`${field}.container_path is /dev: ${FOREIGN_DEV}`);
  }
  checkPropagation(request.propagation, sourcePropagation, `${field} (${destination})`);
  checkOptions(request, field, input);
  const access = [PROPAGATION[request.propagation], ...accessMode(request, field, input), ...(request.options ?? [])];
  return { ...bind(source, destination, access), ...idMap(request, field, input) };
}

/** With "ro" beside them crun 1.8 keeps the others too. */
function checkOptions({ options = [], readonly }: MountRequest, field: string, input: SpecInput): void {
  if (options.length === 0 || readonly || !losesParts(input)) return;
  throw failedPrecondition(
    `${field}.mount_options: this runtime handler loses them in a pod with a user namespace; use readonly too, or a newer runtime`,
  );
}

function losesParts({ namespaces, runtime }: SpecInput): boolean {
  return namespaces.user !== "host" && !runtime.features.wholeBindsWithUsers;
}

function partNotices(input: SpecInput): readonly string[] {
  const hasVolumes = input.mounts.some(({ request }) => request.image === undefined);
  if (!hasVolumes || !losesParts(input)) return [];
  return ["pods with user namespaces see no mounts below a volume with this runtime handler; newer runtimes show them"];
}

/** The mappings are the sandbox's own: that was checked. An image's files have its ids without them. */
function idMap({ idMappings: asked, image }: MountRequest, field: string, { runtime }: SpecInput): Partial<OciMount> {
  if (asked === undefined || image !== undefined) return {};
  if (!runtime.features.idmappedMounts) {
    throw failedPrecondition(`${field}.uidMappings: this runtime handler has no id-mapped mounts`);
  }
  return idMappings(asked);
}

/** Of a mount whose files belong to these ids. */
export function idMappings({ uids, gids }: UserNamespace): Pick<OciMount, "uidMappings" | "gidMappings"> {
  return { uidMappings: [ociMapping(uids)], gidMappings: [ociMapping(gids)] };
}

function ociMapping({ containerId, hostId, length }: IdMapping): OciIdMapping {
  return { containerID: containerId, hostID: hostId, size: length };
}

/** A link in the place of /dev/null has made a runtime bind what it leads to over what it was to mask (CVE-2025-31133). */
const FOREIGN_DEV =
  "a runtime takes what a volume has at /dev/null and /dev/console for its own; mount below /dev, or the host's /dev";

function accessMode(request: ResolvedMount["request"], field: string, input: SpecInput): readonly string[] {
  // An image is read-only in itself, and nothing is mounted below it.
  if (request.recursiveReadOnly && request.image === undefined) return recursiveReadOnly(request, field, input);
  return readMode(request.readonly);
}

function readMode(readonly: boolean): readonly string[] {
  return readonly ? ["ro"] : ["rw"];
}

function recursiveReadOnly(request: ResolvedMount["request"], field: string, input: SpecInput): readonly string[] {
  const where = `${field}.recursive_read_only (${request.containerPath})`;
  if (!request.readonly) throw invalidArgument(`${where} needs readonly too`);
  if (request.propagation !== "private") throw invalidArgument(`${where} needs propagation PROPAGATION_PRIVATE`);
  if (!input.runtime.features.recursiveReadOnlyMounts) {
    throw failedPrecondition(`RROUnsupported: ${where}: this runtime handler has no recursive read-only mounts`);
  }
  return ["ro", "rro"];
}

function checkPropagation(
  asked: ResolvedMount["request"]["propagation"],
  source: ResolvedMount["sourcePropagation"],
  where: string,
): void {
  if (source === undefined || asked === "private" || source === "shared") return;
  if (asked === "hostToContainer" && source === "slave") return;
  const remedy = "make the mount that holds it shared (mount --make-rshared)";
  throw failedPrecondition(
    `${where}: its host path lies on a ${source} mount, propagation ${asked} needs more: ${remedy}`,
  );
}

/** The root's propagation bounds that of every mount in it. */
function rootPropagation(mounts: readonly ResolvedMount[]): OciLinux["rootfsPropagation"] {
  const asked = new Set(mounts.map(({ request }) => request.propagation));
  if (asked.has("bidirectional")) return "rshared";
  return asked.has("hostToContainer") ? "rslave" : undefined;
}

function relabelNotices(input: SpecInput): readonly string[] {
  if (!input.config.mounts.some((mount) => mount.selinuxRelabel)) return [];
  if (!input.host.selinux) return ["selinux_relabel of mounts is ignored: this kernel runs without SELinux"];
  throw new DomainError("unimplemented", "mounts[].selinux_relabel: relabelling volumes is not supported yet");
}

import { posix } from "node:path";
import type { Operation } from "../launcher/operations.ts";
import { invalidArgument } from "../lib/errors.ts";
import { plainParts } from "../lib/plain-path.ts";

/** v2 alone; v1 alone; or v1 with a v2 hierarchy without controllers beside it, as systemd's hybrid mode has it. */
export type CgroupMode = "v1" | "hybrid" | "v2";

export interface CgroupHierarchy {
  readonly mountPoint: string;
  /** v1: its controllers, or "name=…"; v2: empty, its controllers are a file's content. */
  readonly controllers: readonly string[];
  readonly version: 1 | 2;
}

export interface CgroupLayout {
  readonly mode: CgroupMode;
  /** One entry per hierarchy, in the order of mounting. */
  readonly hierarchies: readonly CgroupHierarchy[];
}

export type CgroupDriver = "cgroupfs" | "systemd";

/** What a mount option of cgroup v1 may be besides a controller. */
const NOT_CONTROLLERS: ReadonlySet<string> = new Set([
  "rw",
  "ro",
  "clone_children",
  "noprefix",
  "xattr",
  "cpuset_v2_mode",
]);

/**
 * Which hierarchies are mounted, from the text of /proc/self/mountinfo. Of two mounts of one hierarchy the first counts.
 * A layout without hierarchies has mode "v1": nothing can be limited there, and `nacelle check` says so.
 */
export function parseCgroups(mountinfo: string): CgroupLayout {
  const found = mountinfo.split("\n").flatMap(parseLine);
  const hierarchies = found.filter(
    (one, index) => found.findIndex((other) => hierarchyName(other) === hierarchyName(one)) === index,
  );
  const v1 = hierarchies.some((one) => one.version === 1);
  const v2 = hierarchies.some((one) => one.version === 2);
  if (!v2) return { mode: "v1", hierarchies };
  return { mode: v1 ? "hybrid" : "v2", hierarchies };
}

function hierarchyName({ version, controllers }: CgroupHierarchy): string {
  return version === 2 ? "" : controllers.join(",");
}

/** "36 31 0:33 /root /mount/point options tags… - type source superOptions"; spaces in paths are octal. */
function parseLine(line: string): readonly CgroupHierarchy[] {
  const [left = "", right = ""] = line.split(" - ", 2);
  const [type, , superOptions = ""] = right.split(" ");
  const mountPoint = unescapeOctal(left.split(" ")[4] ?? "");
  if (mountPoint === "") return [];
  if (type === "cgroup2") return [{ mountPoint, controllers: [], version: 2 }];
  if (type !== "cgroup") return [];
  const controllers = superOptions
    .split(",")
    .filter((option) => !NOT_CONTROLLERS.has(option) && !option.startsWith("release_agent="));
  return [{ mountPoint, controllers, version: 1 }];
}

function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** Where a v1 controller or, on v2, any controller is mounted; `undefined` where it is not. */
export function controllerMount(layout: CgroupLayout, controller: string): string | undefined {
  const hierarchy = layout.hierarchies.find((one) =>
    layout.mode === "v2" ? one.version === 2 : one.controllers.includes(controller),
  );
  return hierarchy?.mountPoint;
}

/** Where the v2 hierarchy is mounted, hybrid mode included. */
export function unifiedMount(layout: CgroupLayout): string | undefined {
  return layout.hierarchies.find((one) => one.version === 2)?.mountPoint;
}

/** The parent of sandboxes that name none. */
export function defaultParent(driver: CgroupDriver): string {
  return driver === "systemd" ? "system.slice" : "/nacelle";
}

/**
 * A `cgroup_parent` as asked for, checked and normalised: with cgroupfs an absolute path, with systemd the name of a slice,
 * which may be given with the path that systemd gives it. Empty: the default. Throws `invalidArgument`.
 */
export function parseParent(text: string, driver: CgroupDriver): string {
  if (text === "") return defaultParent(driver);
  const parts = requireParts(text);
  return driver === "systemd" ? requireSlice(text, parts) : requirePath(text, parts);
}

/** As `parseParent` with cgroupfs, for what was asked of a server that took every absolute path. */
export function normalPath(text: string): string {
  return `/${requireParts(text).join("/")}`;
}

function requireParts(text: string): readonly string[] {
  const parts = plainParts(text);
  if (parts !== undefined) return parts;
  throw invalidArgument(
    `cgroup_parent ${shown(text)} is not a path of plain names: ".", ".." and odd characters are refused`,
  );
}

function requirePath(text: string, parts: readonly string[]): string {
  const path = `/${parts.join("/")}`;
  if (path.endsWith(".slice")) {
    const remedy = 'set cgroupDriver to systemd here, or to "cgroupfs" in the kubelet';
    throw invalidArgument(`cgroup_parent ${shown(text)} is a slice, and the cgroup driver here is cgroupfs: ${remedy}`);
  }
  if (text.startsWith("/")) return path;
  throw invalidArgument(`cgroup_parent ${shown(text)} must be absolute with the cgroupfs driver: use ${path}`);
}

function requireSlice(text: string, parts: readonly string[]): string {
  const slice = parts.at(-1) ?? "";
  if (!slice.endsWith(".slice")) {
    const remedy = 'name a slice like kubepods.slice, or set cgroupDriver to "cgroupfs" here and in the kubelet';
    throw invalidArgument(`cgroup_parent ${shown(text)} is no slice, and the cgroup driver here is systemd: ${remedy}`);
  }
  if (slice === "-.slice") {
    const remedy = "name a slice in it, or leave cgroup_parent empty for system.slice";
    throw invalidArgument(`cgroup_parent ${shown(text)} is the root of all slices, and holds no pods: ${remedy}`);
  }
  // systemd would take colons; in `cgroupsPath` they part the slice from the scope.
  if (slice.includes(":")) throw invalidArgument(`cgroup_parent ${shown(text)}: OCI runtimes take no ":" in a slice`);
  if (!/^[A-Za-z0-9_.\\@]+(-[A-Za-z0-9_.\\@]+)*\.slice$/.test(slice)) {
    throw invalidArgument(`cgroup_parent ${shown(text)} is no name for a slice: dashes stand between other characters`);
  }
  const path = parentPath(slice);
  if (parts.length === 1 || path === `/${parts.join("/")}`) return slice;
  throw invalidArgument(
    `cgroup_parent ${shown(text)} is not where systemd keeps ${slice}: that is ${path}; the name alone will do`,
  );
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 200));
}

/** Who makes the cgroups below a parent that `parseParent` gave, whoever makes those of today: a path is a path, a slice a name. */
export function driverOf(parent: string): CgroupDriver {
  return parent.startsWith("/") ? "cgroupfs" : "systemd";
}

/**
 * The path of a parent below each hierarchy's mount. systemd keeps a slice in the slices that its name spells out: "a-b.slice"
 * is at /a.slice/a-b.slice.
 */
export function parentPath(parent: string): string {
  if (driverOf(parent) === "cgroupfs") return parent;
  const parts = parent.slice(0, -".slice".length).split("-");
  return `/${parts.map((_, index) => `${parts.slice(0, index + 1).join("-")}.slice`).join("/")}`;
}

/** `cgroupsPath` of an OCI spec for a sandbox's or container's id. */
export function cgroupsPath(parent: string, id: string): string {
  return driverOf(parent) === "systemd" ? `${parent}:nacelle:${id}` : posix.join(parent, id);
}

/** The path below each hierarchy's mount that `cgroupsPath` ends up at. */
export function cgroupPath(parent: string, id: string): string {
  return posix.join(parentPath(parent), driverOf(parent) === "systemd" ? `nacelle-${id}.scope` : id);
}

/** All directories of one cgroup, for `killCgroup` and `removeCgroup`. Refuses what climbs out of, or is, a hierarchy's root. */
export function cgroupDirectories(layout: CgroupLayout, path: string): readonly string[] {
  const parts = path.split("/").filter((part) => part !== "");
  if (parts.length === 0 || parts.includes("..") || parts.includes(".")) {
    throw invalidArgument(`cgroup ${JSON.stringify(path.slice(0, 200))} is not below a hierarchy's root`);
  }
  return layout.hierarchies.map(({ mountPoint }) => posix.join(mountPoint, ...parts));
}

/**
 * Makes a parent in every hierarchy. On v2 the controllers given (the root's cgroup.controllers) are handed down to it and to
 * its children. On v1 a cpuset is born empty: the OCI runtime fills it from its parent before it puts a process there.
 * Nothing for a slice: systemd makes it with its first scope, if its client has not, and would not know of one made by others.
 */
export function ensureParent(
  layout: CgroupLayout,
  parent: string,
  controllers: readonly string[],
): readonly Operation[] {
  if (driverOf(parent) === "systemd") return [];
  if (layout.mode === "v2") return ensureUnified(unifiedMount(layout) ?? "", parent, controllers);
  return cgroupDirectories(layout, parent).map((path) => ({ op: "mkdir", path, mode: 0o755, parents: true }));
}

/** A level without the right to pass a controller on cannot give it to the next: so from the root down, each with what it may hand on. */
function ensureUnified(mountPoint: string, parent: string, controllers: readonly string[]): readonly Operation[] {
  const parts = parent.split("/").filter((part) => part !== "");
  const levels = parts.map((_, index) => posix.join(mountPoint, ...parts.slice(0, index + 1)));
  const data = Buffer.from(controllers.map((name) => `+${name}`).join(" "));
  const enable = (path: string): readonly Operation[] =>
    controllers.length === 0 ? [] : [{ op: "writeKernelFile", path: posix.join(path, "cgroup.subtree_control"), data }];
  return [
    ...enable(mountPoint),
    ...levels.flatMap((path): readonly Operation[] => [{ op: "mkdir", path, mode: 0o755 }, ...enable(path)]),
  ];
}

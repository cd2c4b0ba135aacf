import { invalidArgument } from "../../lib/errors.ts";
import type { ResolvedDevice, SpecInput } from "./input.ts";
import { cleanTarget } from "./path.ts";
import type { OciDevice, OciDeviceRule, OciMount } from "./types.ts";

export interface Devices {
  readonly nodes: readonly OciDevice[];
  readonly rules: readonly OciDeviceRule[];
  /** Those that are mounted and not made. */
  readonly mounts: readonly OciMount[];
}

const ANY = undefined;

/** What every container may use: the nodes that runtimes make in /dev, terminals, and making nodes that it cannot open. */
const DEFAULT_RULES: readonly OciDeviceRule[] = [
  { allow: false, access: "rwm" },
  rule("c", ANY, ANY, "m"),
  rule("b", ANY, ANY, "m"),
  rule("c", 1, 3, "rwm"), // null
  rule("c", 1, 5, "rwm"), // zero
  rule("c", 1, 7, "rwm"), // full
  rule("c", 1, 8, "rwm"), // random
  rule("c", 1, 9, "rwm"), // urandom
  rule("c", 5, 0, "rwm"), // tty
  rule("c", 5, 2, "rwm"), // ptmx
  rule("c", 136, ANY, "rwm"), // pts
];

function rule(type: "b" | "c", major: number | undefined, minor: number | undefined, access: string): OciDeviceRule {
  return {
    allow: true,
    type,
    ...(major === undefined ? {} : { major }),
    ...(minor === undefined ? {} : { minor }),
    access,
  };
}

/** Places in /dev that runtimes fill themselves, or that mean something else in a container. */
const NOT_PASSED = /^\/dev\/(pts|shm|fd|mqueue|\.[^/]*|console|core|stdin|stdout|stderr|ptmx|tty)(\/|$)/;

/** Whether a node of the host's /dev is given to privileged containers. */
export function isPassableHostDevice(path: string): boolean {
  return path.startsWith("/dev/") && !NOT_PASSED.test(path);
}

/** The nodes to make and what the device cgroup allows. A requested device wins over a host device at the same path. */
export function buildDevices(input: SpecInput): Devices {
  const requested = input.devices.map((device, index) => checked(device, `devices[${index}]`));
  if (!input.config.security.privileged) {
    return { ...made(unique(requested), input), rules: [...DEFAULT_RULES, ...requested.flatMap(toRule)] };
  }
  const host = input.hostDevices.filter((device) => isPassableHostDevice(device.containerPath));
  return { ...made(unique([...host, ...requested]), input), rules: [{ allow: true, access: "rwm" }] };
}

/**
 * Nobody makes a device in a user namespace: runtimes mount the host's, and runc the one that the host has at the path in the
 * container. So one at another path is mounted by us.
 */
function made(devices: readonly ResolvedDevice[], { namespaces }: SpecInput): Omit<Devices, "rules"> {
  const isElsewhere = ({ hostPath, containerPath }: ResolvedDevice) =>
    namespaces.user !== "host" && hostPath !== containerPath;
  return {
    nodes: devices.filter((device) => !isElsewhere(device)).map(toNode),
    mounts: devices.filter(isElsewhere).map(toMount),
  };
}

function toMount({ hostPath, containerPath }: ResolvedDevice): OciMount {
  return {
    destination: containerPath,
    type: "bind",
    source: hostPath,
    options: ["bind", "rprivate", "rw", "nosuid", "noexec"],
  };
}

function checked(device: ResolvedDevice, field: string): ResolvedDevice {
  const containerPath = cleanTarget(device.containerPath, `${field}.container_path`);
  if (!/^[rwm]+$/.test(device.permissions)) {
    throw invalidArgument(
      `${field}.permissions ${JSON.stringify(device.permissions)} must be of the letters r, w and m`,
    );
  }
  return { ...device, containerPath };
}

function unique(devices: readonly ResolvedDevice[]): readonly ResolvedDevice[] {
  return [...new Map(devices.map((device) => [device.containerPath, device])).values()];
}

function toNode(device: ResolvedDevice): OciDevice {
  const { containerPath: path, type, major, minor, mode, uid, gid } = device;
  return { type, path, major, minor, fileMode: mode & 0o7777, uid, gid };
}

function toRule({ type, major, minor, permissions }: ResolvedDevice): readonly OciDeviceRule[] {
  return type === "p" ? [] : [rule(type, major, minor, permissions)];
}

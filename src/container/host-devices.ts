import { join } from "node:path";
import type { Operation, Operations } from "../launcher/operations.ts";
import { DomainError, hasCode, invalidArgument } from "../lib/errors.ts";
import type { DeviceRequest } from "../oci/config.ts";
import { isPassableHostDevice } from "../oci/spec/devices.ts";
import type { ResolvedDevice } from "../oci/spec/input.ts";

const LOOK_MS = 20_000;
const kinds = { b: "b", c: "c", p: "p" } as const;

/** What is really at the paths of the requested devices; a directory stands for the devices in it and below. */
export async function resolveDevices(
  operations: Operations,
  owner: string,
  requests: readonly DeviceRequest[],
): Promise<readonly ResolvedDevice[]> {
  const resolved = await Promise.all(requests.map((request, index) => resolveOne(operations, owner, request, index)));
  return resolved.flat();
}

/** The device nodes of the host that a privileged container gets. */
export async function hostDevices(operations: Operations, owner: string): Promise<readonly ResolvedDevice[]> {
  const all = await devicesIn(operations, owner, { hostPath: "/dev", containerPath: "/dev", permissions: "rwm" });
  return all.filter(({ hostPath }) => isPassableHostDevice(hostPath));
}

async function resolveOne(
  operations: Operations,
  owner: string,
  request: DeviceRequest,
  index: number,
): Promise<readonly ResolvedDevice[]> {
  const { hostPath } = request;
  const field = `config.devices[${index}].host_path ${JSON.stringify(hostPath)}`;
  const look: Operation = { op: "stat", path: hostPath };
  const [text] = await operations.perform([look], looking(owner, field)).catch((error: unknown) => {
    throw isAbsent(error) ? invalidArgument(`${field} does not exist on this node`) : error;
  });
  const [kind = "", ...numbers] = (text?.toString() ?? "").split(" ");
  const device = toDevice(request, kind, numbers);
  if (device !== undefined) return [device];
  const devices = kind === "d" ? await devicesIn(operations, owner, request, field) : [];
  if (devices.length === 0) throw invalidArgument(`${field} is no device and holds none`);
  return devices;
}

async function devicesIn(
  operations: Operations,
  owner: string,
  { hostPath, containerPath, permissions }: DeviceRequest,
  what = hostPath,
): Promise<readonly ResolvedDevice[]> {
  const list: Operation = { op: "devices", path: hostPath };
  const [texts] = await operations.perform([list], looking(owner, what)).catch((error: unknown) => {
    if (!hasCode(error, "EFBIG")) throw error;
    throw new DomainError("failedPrecondition", `${what} holds more devices than a container can be given`);
  });
  const devices = (texts?.toString() ?? "").split("\0").slice(0, -1);
  return devices.flatMap((text) => {
    const [kind = "", mode = "", uid = "", gid = "", rdev = "", ...rest] = text.split(" ");
    const name = rest.join(" ");
    const request = { hostPath: join(hostPath, name), containerPath: join(containerPath, name), permissions };
    return toDevice(request, kind, [mode, uid, gid, rdev]) ?? [];
  });
}

function looking(owner: string, what: string) {
  return { owner, what: `looking at ${what}`, deadlineMs: LOOK_MS };
}

function isAbsent(error: unknown): boolean {
  return hasCode(error, "ENOENT") || hasCode(error, "ENOTDIR") || hasCode(error, "ELOOP");
}

/** `numbers` are the launcher's mode, uid, gid and rdev; undefined when it is no device. */
function toDevice(
  { hostPath, containerPath, permissions }: DeviceRequest,
  kind: string,
  [mode, uid, gid, rdev]: readonly string[],
): ResolvedDevice | undefined {
  const type = kind === "b" || kind === "c" || kind === "p" ? kinds[kind] : undefined;
  if (type === undefined) return undefined;
  const number = BigInt(rdev ?? 0);
  return {
    hostPath,
    containerPath,
    type,
    major: Number((number >> 8n) & 0xfffn),
    minor: Number((number & 0xffn) | ((number >> 12n) & 0xfff00n)),
    mode: Number(mode) & 0o7777,
    uid: Number(uid),
    gid: Number(gid),
    permissions: permissions === "" ? "rwm" : permissions,
  };
}

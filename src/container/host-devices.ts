import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Operation, Operations } from "../launcher/operations.ts";
import { hasCode, invalidArgument } from "../lib/errors.ts";
import type { DeviceRequest } from "../oci/config.ts";
import { isPassableHostDevice } from "../oci/spec/devices.ts";
import type { ResolvedDevice } from "../oci/spec/input.ts";

const MAX_DEVICES = 4_096;
const kinds = { b: "b", c: "c", p: "p" } as const;

/** What is really at the paths of the requested devices; a directory stands for the devices in it. */
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
  const entries = await readdir("/dev", { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isCharacterDevice() || entry.isBlockDevice())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter(isPassableHostDevice)
    .slice(0, MAX_DEVICES);
  return statAll(
    operations,
    owner,
    paths.map((path) => ({ hostPath: path, containerPath: path, permissions: "rwm" })),
  );
}

async function resolveOne(
  operations: Operations,
  owner: string,
  request: DeviceRequest,
  index: number,
): Promise<readonly ResolvedDevice[]> {
  const { hostPath, containerPath, permissions } = request;
  const field = `config.devices[${index}].host_path ${JSON.stringify(hostPath)}`;
  const [found] = await statAll(operations, owner, [request], true).catch((error: unknown) => {
    throw isAbsent(error) ? invalidArgument(`${field} does not exist on this node`) : error;
  });
  if (found !== undefined) return [found];
  const names = await readdir(hostPath, { withFileTypes: true }).catch(() => []);
  const devices = names.filter((entry) => entry.isCharacterDevice() || entry.isBlockDevice());
  if (devices.length === 0) {
    throw invalidArgument(`${field} is no device and holds none`);
  }
  return statAll(
    operations,
    owner,
    devices.map(({ name }) => ({
      hostPath: join(hostPath, name),
      containerPath: join(containerPath, name),
      permissions,
    })),
  );
}

function isAbsent(error: unknown): boolean {
  return hasCode(error, "ENOENT") || hasCode(error, "ENOTDIR") || hasCode(error, "ELOOP");
}

async function statAll(
  operations: Operations,
  owner: string,
  requests: readonly DeviceRequest[],
  devicesOnly = false,
): Promise<readonly ResolvedDevice[]> {
  const stats = requests.map(({ hostPath }): Operation => ({ op: "stat", path: hostPath }));
  if (stats.length === 0) return [];
  const results = await operations.perform(stats, { owner, what: "looking at devices", deadlineMs: 20_000 });
  return requests.flatMap((request, index) => {
    const device = parseStat(request, results[index]?.toString() ?? "");
    return device === undefined && devicesOnly ? [] : (device ?? []);
  });
}

/** From the launcher's "type mode uid gid rdev size"; undefined when it is no device. */
function parseStat({ hostPath, containerPath, permissions }: DeviceRequest, text: string): ResolvedDevice | undefined {
  const [kind = "", mode, uid, gid, rdev] = text.split(" ");
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

import type {
  AppArmorProfile,
  IdMapping,
  NamespaceMode,
  NamespaceOptions,
  SeccompProfile,
  SelinuxOptions,
  UserNamespace,
} from "../../oci/config.ts";
import type { IDMapping__Output } from "../generated/runtime/v1/IDMapping.ts";
import type { Int64Value__Output } from "../generated/runtime/v1/Int64Value.ts";
import type { NamespaceOption__Output } from "../generated/runtime/v1/NamespaceOption.ts";
import type { SELinuxOption__Output } from "../generated/runtime/v1/SELinuxOption.ts";
import type { SecurityProfile__Output } from "../generated/runtime/v1/SecurityProfile.ts";
import type { UserNamespace__Output } from "../generated/runtime/v1/UserNamespace.ts";
import { absolutePath, choice, integer, line, list, quoted, refuse } from "./field.ts";

/** The kernel's (uid_t)-1 means "none". */
const MAX_ID = 0xffff_fffe;
const unconfined: SeccompProfile = { type: "unconfined", localhostRef: "" };
const runtimeDefault: SeccompProfile = { type: "runtimeDefault", localhostRef: "" };
const modes = { POD: "pod", CONTAINER: "container", NODE: "node", TARGET: "target" } as const;

/** `null` means POD for every namespace, as the zero value does. */
export function toNamespaces(
  field: string,
  options: NamespaceOption__Output | null,
  of: "sandbox" | "container",
): NamespaceOptions {
  if (options === null) return { network: "pod", pid: "pod", ipc: "pod", targetId: "" };
  const pid = choice(`${field}.pid`, options.pid, modes);
  if (pid === "target" && of === "sandbox") throw refuse(`${field}.pid`, "is TARGET, which only a container can be");
  if (pid === "target" && options.targetId === "")
    throw refuse(`${field}.target_id`, "is empty although pid is TARGET");
  if (pid !== "target" && options.targetId !== "")
    throw refuse(`${field}.target_id`, "is set although pid is not TARGET");
  const network = podOrNode(`${field}.network`, options.network);
  const ipc = podOrNode(`${field}.ipc`, options.ipc);
  const users = toUsers(`${field}.userns_options`, options.usernsOptions);
  if (users !== undefined && users !== "node") refuseNodeWithUsers(field, { network, pid, ipc });
  return {
    ...{ network, pid, ipc, targetId: line(`${field}.target_id`, options.targetId) },
    ...(users === undefined || (users === "node" && of === "sandbox") ? {} : { users }),
  };
}

/** The kernel lets no other user namespace mount /proc, /sys or /dev/mqueue of the node's namespaces. */
function refuseNodeWithUsers(field: string, modes: Readonly<Record<"network" | "pid" | "ipc", NamespaceMode>>): void {
  for (const kind of ["network", "pid", "ipc"] as const) {
    if (modes[kind] === "node")
      throw refuse(`${field}.${kind}`, "is NODE, which userns_options with mode POD rules out");
  }
}

function podOrNode(field: string, mode: NamespaceOption__Output["network"]): "pod" | "node" {
  const chosen: NamespaceMode = choice(field, mode, modes);
  if (chosen === "pod" || chosen === "node") return chosen;
  throw refuse(field, `is ${mode}; it must be POD or NODE`);
}

function toUsers(field: string, userns: UserNamespace__Output | null): UserNamespace | "node" | undefined {
  if (userns === null) return undefined;
  const mode = choice(`${field}.mode`, userns.mode, modes);
  if (mode === "node") {
    if (userns.uids.length + userns.gids.length > 0) throw refuse(field, "has mappings although its mode is NODE");
    return "node";
  }
  if (mode !== "pod") throw refuse(`${field}.mode`, `is ${userns.mode}; it must be POD or NODE`);
  return { uids: toIdMapping(`${field}.uids`, userns.uids), gids: toIdMapping(`${field}.gids`, userns.gids) };
}

/** Exactly one range that begins with id 0 in the container. */
export function toIdMapping(field: string, mappings: readonly IDMapping__Output[]): IdMapping {
  const [only, second] = mappings;
  if (only === undefined || second !== undefined) throw refuse(field, "must hold exactly one mapping");
  if (only.containerId !== 0) throw refuse(`${field}[0].container_id`, "must be 0");
  if (only.length === 0) throw refuse(`${field}[0].length`, "must not be 0");
  if (only.hostId + only.length - 1 > MAX_ID) throw refuse(`${field}[0]`, `goes beyond the last id, ${MAX_ID}`);
  return { containerId: 0, hostId: only.hostId, length: only.length };
}

/** An absent profile is unconfined. `path` is the older field, which counts only where `profile` is absent. */
export function toSeccomp(
  field: string,
  profile: SecurityProfile__Output | null,
  pathField: string,
  path: string,
): SeccompProfile {
  if (profile === null) return toSeccompFromPath(pathField, path);
  const type = choice(`${field}.profile_type`, profile.profileType, profileTypes);
  if (type !== "localhost") {
    // A reference without its type is a mistake that would run a pod with less confinement than meant.
    if (profile.localhostRef !== "")
      throw refuse(`${field}.localhost_ref`, "is set although the type is not Localhost");
    return type === "unconfined" ? unconfined : runtimeDefault;
  }
  return { type, localhostRef: absolutePath(`${field}.localhost_ref`, profile.localhostRef) };
}

const profileTypes = { RuntimeDefault: "runtimeDefault", Unconfined: "unconfined", Localhost: "localhost" } as const;

function toSeccompFromPath(field: string, path: string): SeccompProfile {
  if (path === "" || path === "unconfined") return unconfined;
  if (path === "runtime/default" || path === "docker/default") return runtimeDefault;
  const prefix = "localhost/";
  if (!path.startsWith(prefix)) throw refuse(field, `is not a profile: ${quoted(path)}`);
  return { type: "localhost", localhostRef: absolutePath(field, path.slice(prefix.length)) };
}

type AppArmor = { readonly apparmor?: AppArmorProfile };

/** What is asked for, if anything is. `name` is the older field, which counts only where `profile` is absent. */
export function toAppArmor(
  field: string,
  profile: SecurityProfile__Output | null,
  nameField: string,
  name: string,
): AppArmor {
  if (profile === null) return toAppArmorFromName(nameField, name);
  const type = choice(`${field}.profile_type`, profile.profileType, profileTypes);
  if (type === "localhost") {
    return { apparmor: { type, name: appArmorName(`${field}.localhost_ref`, profile.localhostRef) } };
  }
  if (profile.localhostRef !== "") throw refuse(`${field}.localhost_ref`, "is set although the type is not Localhost");
  return { apparmor: { type, name: "" } };
}

function toAppArmorFromName(field: string, name: string): AppArmor {
  if (name === "") return {};
  if (name === "runtime/default") return { apparmor: { type: "runtimeDefault", name: "" } };
  if (name === "unconfined") return { apparmor: { type: "unconfined", name: "" } };
  if (!name.startsWith(APPARMOR_PREFIX)) throw refuse(field, `is not a profile: ${quoted(name)}`);
  return { apparmor: { type: "localhost", name: appArmorName(field, name) } };
}

const APPARMOR_PREFIX = "localhost/";

/** Clients write the prefix in the new field, too. */
function appArmorName(field: string, reference: string): string {
  const name = line(field, reference);
  const bare = name.startsWith(APPARMOR_PREFIX) ? name.slice(APPARMOR_PREFIX.length) : name;
  if (bare === "") throw refuse(field, "names no profile");
  return bare;
}

export function toSelinux(field: string, options: SELinuxOption__Output | null): SelinuxOptions | undefined {
  if (options === null) return undefined;
  const { user, role, type, level } = options;
  return {
    user: line(`${field}.user`, user),
    role: line(`${field}.role`, role),
    type: line(`${field}.type`, type),
    level: line(`${field}.level`, level),
  };
}

export function toUserOrGroupId(field: string, value: Int64Value__Output | null): number | undefined {
  return value === null ? undefined : integer(field, value.value, 0, MAX_ID);
}

export function toGroups(field: string, groups: readonly string[]): readonly number[] {
  return list(field, groups, (item, group) => integer(item, group, 0, MAX_ID));
}

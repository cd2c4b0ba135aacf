import { invalidArgument } from "../lib/errors.ts";
import { isSameValue } from "../lib/same-value.ts";
import type { ContainerConfig, SandboxConfig, UserNamespace } from "../oci/config.ts";
import type { Paths } from "./paths.ts";
import type { Sandbox } from "./sandbox.ts";

/** The ids that a sandbox has for its own; undefined: the host's. */
export function usersOf({ namespaces }: SandboxConfig): UserNamespace | undefined {
  return namespaces.users === "node" ? undefined : namespaces.users;
}

/** Who is root in the sandbox, in the host's ids. */
export function rootOf(config: SandboxConfig): { readonly uid: number; readonly gid: number } {
  const users = usersOf(config);
  return { uid: users?.uids.hostId ?? 0, gid: users?.gids.hostId ?? 0 };
}

/** A user namespace where others can join it. */
export interface PinnedUsers {
  readonly pin: string;
  /** Its root, in the host's ids. */
  readonly uid: number;
  readonly gid: number;
}

export function pinnedUsers(paths: Paths, { id, config }: Sandbox): PinnedUsers | undefined {
  return usersOf(config) === undefined ? undefined : { pin: paths.inSandbox(id, "user"), ...rootOf(config) };
}

/** A container has its sandbox's ids, and so have its id-mapped mounts. Throws `invalidArgument` naming the field that says otherwise. */
export function checkUsers(sandbox: SandboxConfig, config: ContainerConfig): void {
  const users = usersOf(sandbox);
  const field = "config.linux.security_context.namespace_options.userns_options";
  const asked = config.security.namespaces.users;
  if (asked === "node" && users !== undefined) {
    throw invalidArgument(`${field}.mode is NODE, but the sandbox has a user namespace of its own`);
  }
  if (asked !== undefined && asked !== "node" && !isSame(asked, users)) {
    throw invalidArgument(`${field} is not what the sandbox was made with`);
  }
  for (const [index, { idMappings }] of config.mounts.entries()) {
    if (idMappings === undefined || isSame(idMappings, users)) continue;
    const remedy = "leave them out, or use those of the sandbox's userns_options";
    throw invalidArgument(`config.mounts[${index}].uidMappings and gidMappings are not the sandbox's: ${remedy}`);
  }
}

function isSame(asked: UserNamespace, users: UserNamespace | undefined): boolean {
  return users !== undefined && isSameValue(asked, users);
}

/** Throws `invalidArgument` for a user or group that has no id on the host. */
export function checkMapped(
  sandbox: SandboxConfig,
  user: { readonly uid: number; readonly gid: number; readonly supplementalGroups: readonly number[] },
): void {
  const users = usersOf(sandbox);
  if (users === undefined) return;
  const refuse = (what: string, id: number, { length }: { readonly length: number }) => {
    if (id >= length)
      throw invalidArgument(`${what} ${id} is not among the ${length} ids of the sandbox's user namespace`);
  };
  refuse("user", user.uid, users.uids);
  for (const group of [user.gid, ...user.supplementalGroups]) refuse("group", group, users.gids);
}

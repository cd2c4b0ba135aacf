import { invalidArgument } from "../../lib/errors.ts";
import type { SandboxConfig } from "../config.ts";
import type { NamespaceChoices } from "./input.ts";

/** What pods get that have a network of their own; the request's own values win. */
export interface SysctlPolicy {
  /** The first port that every user may bind. */
  readonly unprivilegedPortStart: number;
  /** Value of net.ipv4.ping_group_range: who may ping without a capability. Empty: the kernel's default. */
  readonly pingGroupRange: string;
}

type Owner = "network" | "ipc";

/** What is per namespace in Linux and safe to set for a pod; everything else is the whole machine's. */
const IPC_PATHS: ReadonlySet<string> = new Set(
  ["sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced", "msgmax", "msgmnb", "msgmni"].map(
    (name) => `kernel/${name}`,
  ),
);

/**
 * The sysctls of a sandbox as pairs of a path below /proc/sys and a value, defaults first, for the operation that makes its
 * namespaces. Throws `invalidArgument` for a name that is not per namespace, or whose namespace is the host's.
 */
export function sandboxSysctls(
  config: Pick<SandboxConfig, "sysctls" | "namespaces">,
  policy: SysctlPolicy,
): readonly (readonly [string, string])[] {
  const ownNetwork = config.namespaces.network === "pod";
  const { users } = config.namespaces;
  const groups = users === undefined || users === "node" ? undefined : users.gids.length;
  const values = new Map<string, string>(ownNetwork ? networkDefaults(policy, groups) : []);
  const hosts = { network: !ownNetwork, ipc: config.namespaces.ipc === "node" };
  for (const [name, value] of Object.entries(config.sysctls)) {
    const path = sysctlPath(name);
    const owner = ownerOf(path);
    if (owner === undefined) {
      throw invalidArgument(`sysctl ${quote(name)} is not per pod: it would change the whole node; set it there`);
    }
    if (hosts[owner])
      throw invalidArgument(`sysctl ${quote(name)} would change the node: the pod uses the host's ${owner}`);
    if (value.length > 4096 || /[\0\n]/.test(value))
      throw invalidArgument(`sysctl ${quote(name)}: its value is not one line`);
    values.delete(path);
    values.set(path, value);
  }
  return [...values];
}

/** `groups`: how many group ids the pod has; a range beyond them would be refused (EINVAL). */
function networkDefaults(policy: SysctlPolicy, groups: number | undefined): readonly (readonly [string, string])[] {
  const { unprivilegedPortStart, pingGroupRange } = policy;
  const range = pingGroupRange
    .split(/\s+/)
    .map((id) => (groups === undefined ? id : String(Math.min(Number(id), groups - 1))))
    .join(" ");
  return [
    ["net/ipv4/ip_unprivileged_port_start", String(unprivilegedPortStart)],
    ...(pingGroupRange === "" ? [] : ([["net/ipv4/ping_group_range", range]] as const)),
  ];
}

/** Those of `sysctls` that the runtime has to set itself, because it and not we makes the namespace. Keys with dots, as OCI has them. */
export function specSysctls(
  sysctls: readonly (readonly [string, string])[],
  choices: Pick<NamespaceChoices, "network" | "ipc">,
): Readonly<Record<string, string>> {
  const made = sysctls.filter(([path]) => choices[ownerOf(path) ?? "ipc"] === "new");
  return Object.fromEntries(made.map(([path, value]) => [path.replaceAll("/", "."), value]));
}

/**
 * "net.ipv4.ip_forward" and "net/ipv4/ip_forward" are the same. Whichever of "." and "/" comes first separates;
 * the other one then stands for a dot within a part ("net.ipv4.conf.eth0/100.forwarding").
 */
export function sysctlPath(name: string): string {
  const first = /[./]/.exec(name)?.[0];
  const swapped = name.replace(/[./]/g, (char) => (char === "." ? "/" : "."));
  const path = first === "." ? swapped : name;
  const valid = name.length <= 253 && /^[A-Za-z0-9_.:@-]+(\/[A-Za-z0-9_.:@-]+)+$/.test(path);
  if (valid && !path.split("/").some((part) => part === "." || part === "..")) return path;
  throw invalidArgument(`sysctl ${quote(name)} is not a name like net.ipv4.ip_forward`);
}

function ownerOf(path: string): Owner | undefined {
  if (path.startsWith("net/")) return "network";
  return path.startsWith("fs/mqueue/") || IPC_PATHS.has(path) ? "ipc" : undefined;
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 120));
}

import { invalidArgument } from "../../lib/errors.ts";
import type { Section } from "./input.ts";
import type { OciCapabilities } from "./types.ts";

/** Every capability of Linux, by its number: the order of /proc/PID/status's bits. */
export const CAPABILITIES: readonly string[] = [
  "CHOWN",
  "DAC_OVERRIDE",
  "DAC_READ_SEARCH",
  "FOWNER",
  "FSETID",
  "KILL",
  "SETGID",
  "SETUID",
  "SETPCAP",
  "LINUX_IMMUTABLE",
  "NET_BIND_SERVICE",
  "NET_BROADCAST",
  "NET_ADMIN",
  "NET_RAW",
  "IPC_LOCK",
  "IPC_OWNER",
  "SYS_MODULE",
  "SYS_RAWIO",
  "SYS_CHROOT",
  "SYS_PTRACE",
  "SYS_PACCT",
  "SYS_ADMIN",
  "SYS_BOOT",
  "SYS_NICE",
  "SYS_RESOURCE",
  "SYS_TIME",
  "SYS_TTY_CONFIG",
  "MKNOD",
  "LEASE",
  "AUDIT_WRITE",
  "AUDIT_CONTROL",
  "SETFCAP",
  "MAC_OVERRIDE",
  "MAC_ADMIN",
  "SYSLOG",
  "WAKE_ALARM",
  "BLOCK_SUSPEND",
  "AUDIT_READ",
  "PERFMON",
  "BPF",
  "CHECKPOINT_RESTORE",
].map((name) => `CAP_${name}`);

/**
 * What a container gets that asks for nothing: containerd's and Docker's fourteen, because images are tested with those.
 * (CRI-O gives nine of them; `ping`, `chroot` and package managers of older images fail there.)
 */
export const DEFAULT_CAPABILITIES: readonly string[] = [
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FOWNER",
  "CAP_FSETID",
  "CAP_KILL",
  "CAP_SETGID",
  "CAP_SETUID",
  "CAP_SETPCAP",
  "CAP_NET_BIND_SERVICE",
  "CAP_NET_RAW",
  "CAP_SYS_CHROOT",
  "CAP_MKNOD",
  "CAP_AUDIT_WRITE",
  "CAP_SETFCAP",
];

/** The names in the bits of a line like "CapEff:\t000001fffeffffff" of /proc/PID/status. Unknown high bits are left out. */
export function capabilitiesFromMask(hex: string): ReadonlySet<string> {
  const mask = BigInt(`0x${hex.trim()}`);
  return new Set(CAPABILITIES.filter((_, bit) => ((mask >> BigInt(bit)) & 1n) === 1n));
}

interface CapabilityRequest {
  readonly add: readonly string[];
  readonly drop: readonly string[];
  readonly ambient: readonly string[];
  readonly privileged: boolean;
}

/**
 * The sets of a container's process. "ALL" comes first on either side, then single additions, then single drops, so that
 * "drop ALL, add X" leaves X and "add ALL, drop X" all but X. Ambient ones are added, too, and survive an exec by a user that is
 * not root; unless they are asked for none is inheritable or ambient: a program of another user must not find them in its
 * hands. Throws `invalidArgument` for a name that Linux does not have.
 */
export function buildCapabilities(request: CapabilityRequest, held: ReadonlySet<string>): Section<OciCapabilities> {
  const names = (list: readonly string[], kind: "add" | "drop" | "add_ambient") =>
    list.map((name, index) => normalise(name, `capabilities.${kind}_capabilities[${index}]`));
  const add = names(request.add, "add");
  const drop = names(request.drop, "drop");
  const ambient = names(request.ambient, "add_ambient");
  const wanted = request.privileged ? new Set(CAPABILITIES) : select([...add, ...ambient], drop);
  const given = CAPABILITIES.filter((name) => wanted.has(name) && held.has(name));
  const kept = ambient.includes("ALL") ? given : given.filter((name) => ambient.includes(name));
  const missed = request.privileged
    ? []
    : [...new Set([...add, ...ambient])].filter((name) => isMissed(name, wanted, held));
  return {
    value: { bounding: given, effective: given, inheritable: kept, permitted: given, ambient: kept },
    notices: missed.map((name) => `capability ${name} is not given: nacelle itself does not hold it`),
  };
}

function isMissed(name: string, wanted: ReadonlySet<string>, held: ReadonlySet<string>): boolean {
  return name !== "ALL" && wanted.has(name) && !held.has(name);
}

function select(add: readonly string[], drop: readonly string[]): ReadonlySet<string> {
  const wanted = new Set(add.includes("ALL") ? CAPABILITIES : DEFAULT_CAPABILITIES);
  if (drop.includes("ALL")) wanted.clear();
  for (const name of add) wanted.add(name);
  for (const name of drop) wanted.delete(name);
  return wanted;
}

function normalise(text: string, field: string): string {
  const upper = text.toUpperCase();
  const name = upper === "ALL" || upper.startsWith("CAP_") ? upper : `CAP_${upper}`;
  if (name === "ALL" || CAPABILITIES.includes(name)) return name;
  throw invalidArgument(`${field}: ${JSON.stringify(text.slice(0, 40))} is not a capability of Linux`);
}

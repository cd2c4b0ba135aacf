import type { DnsConfig, PortMapping, SandboxConfig, SandboxMetadata } from "../../oci/config.ts";
import type { DNSConfig__Output } from "../generated/runtime/v1/DNSConfig.ts";
import type { LinuxPodSandboxConfig__Output } from "../generated/runtime/v1/LinuxPodSandboxConfig.ts";
import type { LinuxSandboxSecurityContext__Output } from "../generated/runtime/v1/LinuxSandboxSecurityContext.ts";
import type { PodSandboxConfig__Output } from "../generated/runtime/v1/PodSandboxConfig.ts";
import type { PodSandboxMetadata__Output } from "../generated/runtime/v1/PodSandboxMetadata.ts";
import type { PortMapping__Output } from "../generated/runtime/v1/PortMapping.ts";
import {
  absolutePath,
  choice,
  integer,
  ipAddress,
  line,
  list,
  map,
  name,
  notImplemented,
  path,
  quoted,
  refuse,
  required,
  withoutDotDot,
  word,
} from "./field.ts";
import { toResources } from "./resources.ts";
import { toAppArmor, toGroups, toNamespaces, toSeccomp, toSelinux, toUserOrGroupId } from "./security.ts";

const UINT32_MAX = 0xffff_ffff;
const policies = { Merge: "merge", Strict: "strict" } as const;
const protocols = { TCP: "tcp", UDP: "udp", SCTP: "sctp" } as const;

/**
 * What a sandbox should be, checked in every field.
 *
 * @throws DomainError `invalidArgument`, `unimplemented` or `failedPrecondition` that names the field below `field`
 */
export function toSandboxConfig(field: string, message: PodSandboxConfig__Output | null): SandboxConfig {
  const config = required(field, message);
  if (config.windows !== null) throw notImplemented(`${field}.windows`, "Windows pods are");
  return {
    metadata: toMetadata(`${field}.metadata`, config.metadata),
    hostname: toHostname(`${field}.hostname`, config.hostname),
    logDirectory: toLogDirectory(`${field}.log_directory`, config.logDirectory),
    dns: toDns(`${field}.dns_config`, config.dnsConfig),
    portMappings: list(`${field}.port_mappings`, config.portMappings, toPortMapping),
    labels: map(`${field}.labels`, config.labels),
    annotations: map(`${field}.annotations`, config.annotations),
    ...toLinux(`${field}.linux`, config.linux),
  };
}

function toMetadata(field: string, message: PodSandboxMetadata__Output | null): SandboxMetadata {
  const metadata = required(field, message);
  return {
    name: argument(`${field}.name`, metadata.name),
    uid: argument(`${field}.uid`, metadata.uid),
    namespace: argument(`${field}.namespace`, metadata.namespace),
    attempt: integer(`${field}.attempt`, metadata.attempt, 0, UINT32_MAX),
  };
}

/** CNI_ARGS is a list of KEY=VALUE;KEY=VALUE without any quoting. */
function argument(field: string, value: string): string {
  if (name(field, value).includes(";")) throw refuse(field, 'contains ";"');
  return value;
}

function toHostname(field: string, value: string): string {
  if (value === "") return value;
  if (value.length > 64) throw refuse(field, "is longer than the 64 bytes that Linux allows");
  if (!/^[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?$/.test(value)) {
    throw refuse(field, `is not a host name: ${quoted(value)}`);
  }
  return value;
}

function toLogDirectory(field: string, value: string): string {
  return value === "" ? value : withoutDotDot(field, absolutePath(field, value));
}

function toDns(field: string, message: DNSConfig__Output | null): DnsConfig | undefined {
  if (message === null) return undefined;
  return {
    servers: list(`${field}.servers`, message.servers, ipAddress),
    searches: list(`${field}.searches`, message.searches, word),
    options: list(`${field}.options`, message.options, word),
  };
}

function toPortMapping(field: string, message: PortMapping__Output): PortMapping {
  return {
    protocol: choice(`${field}.protocol`, message.protocol, protocols),
    containerPort: integer(`${field}.container_port`, message.containerPort, 0, 65_535),
    hostPort: integer(`${field}.host_port`, message.hostPort, 0, 65_535),
    hostIp: message.hostIp === "" ? "" : ipAddress(`${field}.host_ip`, message.hostIp),
  };
}

type Linux = Omit<
  SandboxConfig,
  "metadata" | "hostname" | "logDirectory" | "dns" | "portMappings" | "labels" | "annotations"
>;

function toLinux(field: string, message: LinuxPodSandboxConfig__Output | null): Linux {
  return {
    cgroupParent: withoutDotDot(
      `${field}.cgroup_parent`,
      line(`${field}.cgroup_parent`, path(`${field}.cgroup_parent`, message?.cgroupParent ?? "")),
    ),
    sysctls: toSysctls(`${field}.sysctls`, message?.sysctls ?? {}),
    overhead: toResources(`${field}.overhead`, message?.overhead ?? null),
    resources: toResources(`${field}.resources`, message?.resources ?? null),
    ...toSecurity(`${field}.security_context`, message?.securityContext ?? null),
  };
}

function toSysctls(field: string, entries: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  for (const [key, value] of Object.entries(map(field, entries))) {
    // Dots and slashes both separate: an empty or ".." part would lead out of /proc/sys.
    if (!/^[A-Za-z0-9_@:,-]+([./][A-Za-z0-9_@:,-]+)+$/.test(key)) throw refuse(field, `has the key ${quoted(key)}`);
    line(`${field}[${quoted(key)}]`, value, 4096);
  }
  return map(field, entries);
}

type Security = Omit<Linux, "cgroupParent" | "sysctls" | "overhead" | "resources">;

function toSecurity(field: string, message: LinuxSandboxSecurityContext__Output | null): Security {
  if (message === null) return noSecurity(field);
  const runAsUser = toUserOrGroupId(`${field}.run_as_user`, message.runAsUser);
  const runAsGroup = toUserOrGroupId(`${field}.run_as_group`, message.runAsGroup);
  if (runAsGroup !== undefined && runAsUser === undefined) {
    throw refuse(`${field}.run_as_group`, "is set without run_as_user");
  }
  // Decides about groups that an image gives; a sandbox's own process has no image.
  choice(`${field}.supplemental_groups_policy`, message.supplementalGroupsPolicy, policies);
  return {
    namespaces: toNamespaces(`${field}.namespace_options`, message.namespaceOptions, "sandbox"),
    privileged: message.privileged,
    seccomp: toSeccomp(
      `${field}.seccomp`,
      message.seccomp,
      `${field}.seccomp_profile_path`,
      message.seccompProfilePath,
    ),
    selinux: toSelinux(`${field}.selinux_options`, message.selinuxOptions),
    ...toAppArmor(`${field}.apparmor`, message.apparmor, "", ""),
    runAsUser,
    runAsGroup,
    supplementalGroups: toGroups(`${field}.supplemental_groups`, message.supplementalGroups),
    readonlyRootfs: message.readonlyRootfs,
  };
}

function noSecurity(field: string): Security {
  return {
    namespaces: toNamespaces(field, null, "sandbox"),
    privileged: false,
    seccomp: toSeccomp(field, null, field, ""),
    selinux: undefined,
    runAsUser: undefined,
    runAsGroup: undefined,
    supplementalGroups: [],
    readonlyRootfs: false,
  };
}

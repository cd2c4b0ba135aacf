import { status } from "@grpc/grpc-js";
import {
  badHostname,
  badIp,
  badPort,
  control,
  escaping,
  huge,
  hugeKey,
  hugeMap,
  mapping,
  nothing,
  outOfRange,
  pick,
  type Random,
  relative,
  unknownEnum,
  withNul,
  word,
} from "./hostile-values.fixture.ts";

const { UNIMPLEMENTED } = status;

/** Where the value goes (in JavaScript's names), the field as the answer names it, and what goes there. */
export type Attack = readonly [path: string, field: string, value: (random: Random) => unknown, code?: status];

export const resources = (path: string, field: string): Attack[] => [
  ...["cpuPeriod", "cpuShares", "memoryLimitInBytes"].map(
    (name): Attack => [`${path}.${name}`, `${field}.${snake(name)}`, outOfRange],
  ),
  [`${path}.cpuQuota`, `${field}.cpu_quota`, outOfRange],
  [`${path}.memorySwapLimitInBytes`, `${field}.memory_swap_limit_in_bytes`, outOfRange],
  [`${path}.oomScoreAdj`, `${field}.oom_score_adj`, (random) => pick(random, ["-1001", "1001", huge(random)])],
  [`${path}.cpusetCpus`, `${field}.cpuset_cpus`, (random) => pick(random, ["0-1\n", "a", "0 1", "../0"])],
  [
    `${path}.hugepageLimits`,
    `${field}.hugepage_limits[0].limit`,
    () => [{ pageSize: "2MB", limit: "18446744073709551615" }],
  ],
  [`${path}.hugepageLimits`, `${field}.hugepage_limits[0].page_size`, () => [{ pageSize: "../2MB", limit: "1" }]],
  [`${path}.unified`, `${field}.unified`, () => ({ "../cgroup.procs": "1" })],
];

export const sandboxAttacks: readonly Attack[] = [
  ["config", "config", () => null],
  ["config.metadata", "config.metadata", () => null],
  ...["name", "uid", "namespace"].flatMap((name): Attack[] => [
    [`config.metadata.${name}`, `config.metadata.${name}`, nothing],
    [`config.metadata.${name}`, `config.metadata.${name}`, control],
    [`config.metadata.${name}`, `config.metadata.${name}`, (random) => "n".repeat(1025 + random() * 100_000)],
    [`config.metadata.${name}`, `config.metadata.${name}`, (random) => `x;K8S_POD_NAME=${word(random)}`],
  ]),
  ["runtimeHandler", "runtime_handler", control],
  ["config.hostname", "config.hostname", badHostname],
  ["config.logDirectory", "config.log_directory", (random) => relative(random) || "x"],
  ["config.logDirectory", "config.log_directory", escaping],
  ["config.dnsConfig.servers", "config.dns_config.servers[0]", (random) => [badIp(random)]],
  ["config.dnsConfig.searches", "config.dns_config.searches[0]", (random) => [control(random)]],
  ["config.dnsConfig.options", "config.dns_config.options[1]", () => ["ndots:5", "a b"]],
  ["config.portMappings", "config.port_mappings[0].host_port", (random) => [{ hostPort: badPort(random) }]],
  ["config.portMappings", "config.port_mappings[0].container_port", (random) => [{ containerPort: badPort(random) }]],
  ["config.portMappings", "config.port_mappings[0].host_ip", (random) => [{ hostIp: badIp(random) }]],
  ["config.portMappings", "config.port_mappings[0].protocol", (random) => [{ protocol: unknownEnum(random) }]],
  ["config.labels", "config.labels", hugeMap],
  ["config.annotations", "config.annotations", hugeMap],
  ["config.labels", "config.labels", hugeKey],
  ["config.windows", "config.windows", () => ({}), UNIMPLEMENTED],
  ["config.linux.cgroupParent", "config.linux.cgroup_parent", escaping],
  ["config.linux.cgroupParent", "config.linux.cgroup_parent", withNul],
  [
    "config.linux.sysctls",
    "config.linux.sysctls",
    (random) => ({ [pick(random, ["net..x", "../x", "x", "", "a b.c"])]: "1" }),
  ],
  ["config.linux.sysctls", "config.linux.sysctls", () => ({ "net.ipv4.ip_forward": "1\n" })],
  ...resources("config.linux.overhead", "config.linux.overhead"),
  ...resources("config.linux.resources", "config.linux.resources"),
  ...securityAttacks("config.linux"),
  ["config.linux.securityContext.namespaceOptions", "namespace_options.pid", () => ({ pid: "TARGET", targetId: "a" })],
];

export function securityAttacks(base: string): Attack[] {
  const [path, field] = [`${base}.securityContext`, `${base}.security_context`];
  const userns = [`${path}.namespaceOptions.usernsOptions`, `${field}.namespace_options.userns_options`] as const;
  return [
    [`${path}.namespaceOptions`, `${field}.namespace_options.network`, () => ({ network: "CONTAINER" })],
    [
      `${path}.namespaceOptions`,
      `${field}.namespace_options.ipc`,
      (random) => ({ ipc: pick(random, ["CONTAINER", "TARGET"]) }),
    ],
    [`${path}.namespaceOptions`, `${field}.namespace_options.pid`, (random) => ({ pid: unknownEnum(random) })],
    [`${path}.namespaceOptions`, `${field}.namespace_options.target_id`, (random) => ({ targetId: word(random) })],
    [userns[0], `${userns[1]}.gids`, () => ({ mode: "POD", uids: [mapping], gids: [{ ...mapping, length: 0 }] })],
    [
      userns[0],
      `${userns[1]}.gids`,
      () => ({ mode: "POD", uids: [mapping], gids: [{ ...mapping, hostId: 0xffff_ff00 }] }),
    ],
    [userns[0], `${userns[1]}.uids`, () => ({ mode: "POD", uids: [mapping, mapping], gids: [mapping] })],
    [userns[0], `${userns[1]}.uids`, () => ({ mode: "POD", uids: [{ ...mapping, containerId: 1 }], gids: [mapping] })],
    [userns[0], `${userns[1]}.mode`, (random) => ({ mode: pick(random, ["CONTAINER", "TARGET"]) })],
    [
      `${path}.runAsUser`,
      `${field}.run_as_user`,
      (random) => ({ value: pick(random, ["-1", "4294967295", huge(random)]) }),
    ],
    [`${path}.runAsGroup`, `${field}.run_as_group`, () => ({ value: "1000" })],
    [`${path}.supplementalGroups`, `${field}.supplemental_groups[1]`, (random) => ["1", outOfRange(random)]],
    [`${path}.supplementalGroupsPolicy`, `${field}.supplemental_groups_policy`, unknownEnum],
    [
      `${path}.seccomp`,
      `${field}.seccomp.localhost_ref`,
      (random) => ({ profileType: "Localhost", localhostRef: relative(random) }),
    ],
    [`${path}.seccomp`, `${field}.seccomp.localhost_ref`, () => ({ profileType: "Unconfined", localhostRef: "/x" })],
    [`${path}.seccomp`, `${field}.seccomp.profile_type`, (random) => ({ profileType: unknownEnum(random) })],
    [`${path}.seccompProfilePath`, `${field}.seccomp_profile_path`, (random) => word(random)],
    [
      `${path}.apparmor`,
      `${field}.apparmor.localhost_ref`,
      (random) => ({ profileType: "Localhost", localhostRef: pick(random, ["", "localhost/", control(random)]) }),
    ],
    [`${path}.selinuxOptions`, `${field}.selinux_options.level`, (random) => ({ level: control(random) })],
  ];
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

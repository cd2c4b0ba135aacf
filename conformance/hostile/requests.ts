import { status } from "@grpc/grpc-js";
import type { Message } from "../harness/cri-answers.ts";
import { containerConfig, sandboxConfig } from "../harness/cri-configs.ts";
import { type Poison, poisons, type Random, seeded } from "./poison.ts";

/** A request that no server may do, how it is to be answered, and the field that the answer must name. */
export interface HostileRequest {
  readonly method: string;
  readonly request: Message;
  readonly code: status;
  readonly field: string;
}

/** Where the poison goes, in the names of the CRI, and which; or what to put there; or a code of its own. */
type Target = readonly [path: string, poison: Poison | { readonly value: unknown }, code?: status, named?: string];

const { NOT_FOUND, INVALID_ARGUMENT, UNIMPLEMENTED } = status;
const absent = (path: string): Target => [path, { value: null }];

const resources = (path: string): readonly Target[] => [
  ...[
    "cpu_period",
    "cpu_shares",
    "memory_limit_in_bytes",
    "cpu_quota",
    "memory_swap_limit_in_bytes",
    "oom_score_adj",
  ].map((name): Target => [`${path}.${name}`, "amount"]),
  [`${path}.cpuset_cpus`, { value: "0-1\n" }],
  [`${path}.cpuset_mems`, { value: "../0" }],
  [`${path}.unified`, { value: { "../../cgroup.procs": "1" } }],
];

const security = (path: string): readonly Target[] => [
  [`${path}.namespace_options.network`, "choice"],
  [`${path}.namespace_options.pid`, "choice"],
  [`${path}.namespace_options.ipc`, "choice"],
  [`${path}.namespace_options.ipc`, { value: "CONTAINER" }],
  [`${path}.run_as_user`, { value: { value: "-1" } }],
  [`${path}.run_as_user`, { value: { value: "4294967295" } }],
  [`${path}.supplemental_groups[0]`, "user"],
  [`${path}.seccomp.profile_type`, "choice"],
  [`${path}.seccomp`, { value: { profileType: "Localhost", localhostRef: "profile.json" } }],
  [`${path}.seccomp`, { value: { profileType: "Localhost", localhostRef: "" } }],
];

const sandbox: readonly Target[] = [
  absent("config"),
  absent("config.metadata"),
  ["config.metadata.name", "name"],
  ["config.metadata.uid", "name"],
  ["config.metadata.namespace", "name"],
  ["config.metadata.name", { value: "x;K8S_POD_NAMESPACE=kube-system" }],
  ["runtime_handler", { value: "no-such-runtime" }],
  ["runtime_handler", { value: "../../bin/sh" }],
  ["config.hostname", "host"],
  ["config.log_directory", { value: "relative/logs" }],
  ["config.log_directory", "climbing"],
  ["config.dns_config.servers[0]", "address"],
  ["config.port_mappings[0].host_port", "port"],
  ["config.port_mappings[0].container_port", "port"],
  ["config.port_mappings[0].protocol", "choice"],
  ["config.port_mappings[0].host_ip", "address"],
  ["config.labels", "labels"],
  ["config.annotations", "labels"],
  ["config.linux.cgroup_parent", "climbing"],
  ["config.linux.sysctls", { value: { "kernel.panic": "1" } }, INVALID_ARGUMENT, 'sysctl "kernel.panic"'],
  ["config.linux.sysctls", { value: { "vm.swappiness": "1" } }, INVALID_ARGUMENT, 'sysctl "vm.swappiness"'],
  ["config.linux.sysctls", { value: { "net/../kernel/panic": "1" } }],
  ...resources("config.linux.resources"),
  ...security("config.linux.security_context"),
];

const container: readonly Target[] = [
  ["pod_sandbox_id", "id", NOT_FOUND, "sandbox"],
  ["pod_sandbox_id", { value: "" }],
  absent("config"),
  absent("config.metadata"),
  ["config.metadata.name", "name"],
  absent("config.image"),
  ["config.image.image", { value: "" }],
  ["config.image.image", { value: "no such image" }],
  ["config.image.image", { value: "registry.k8s.io/no/such:1" }, NOT_FOUND, "registry.k8s.io/no/such:1"],
  ["config.command[0]", "text"],
  ["config.args[0]", "text"],
  ["config.working_dir", "path"],
  ["config.envs[0].key", { value: "A=B" }],
  ["config.envs[0].value", { value: Buffer.from("a\0b") }],
  ["config.mounts[0].container_path", "path"],
  ["config.mounts[0].host_path", "path"],
  ["config.mounts[0].host_path", { value: "/no/such/folder" }],
  ["config.mounts[0].propagation", "choice"],
  ["config.devices[0].host_path", { value: "/dev/no-such-device" }],
  ["config.devices[0].permissions", { value: "rwx" }],
  ["config.labels", "labels"],
  ["config.annotations", "labels"],
  ["config.log_path", "below"],
  ["config.stop_signal", "choice"],
  ["config.windows", { value: {} }, UNIMPLEMENTED],
  ["config.linux.security_context.run_as_username", { value: "nobody-here" }, INVALID_ARGUMENT, "run_as_username"],
  ["config.linux.security_context.masked_paths[0]", { value: "etc" }],
  [
    "config.linux.security_context.seccomp",
    { value: { profileType: "Localhost", localhostRef: "/no/such.json" } },
    INVALID_ARGUMENT,
    "seccomp.localhost_ref",
  ],
  ...resources("config.linux.resources"),
  ...security("config.linux.security_context"),
];

const ofContainer: readonly Target[] = [
  ["container_id", "id", NOT_FOUND, "container"],
  ["container_id", { value: "" }],
];

const targets: Readonly<Record<string, readonly Target[]>> = {
  RunPodSandbox: sandbox,
  CreateContainer: container,
  PodSandboxStatus: [
    ["pod_sandbox_id", "id", NOT_FOUND, "sandbox"],
    ["pod_sandbox_id", { value: "" }],
  ],
  StartContainer: ofContainer,
  ContainerStatus: ofContainer,
  ReopenContainerLog: ofContainer,
  ExecSync: [...ofContainer, ["cmd", { value: [] }], ["cmd[0]", "text"], ["timeout", "amount"]],
  StopContainer: [
    ["container_id", { value: "" }],
    ["timeout", "amount"],
  ],
  StopPodSandbox: [["pod_sandbox_id", { value: "" }]],
  RemovePodSandbox: [["pod_sandbox_id", { value: "" }]],
  RemoveContainer: [["container_id", { value: "" }]],
  PullImage: [absent("image"), ["image.image", "name"]],
  ImageStatus: [["image.image", "name"]],
  RemoveImage: [["image.image", "name"]],
  Exec: [
    ...ofContainer,
    ["cmd", { value: [] }],
    ["cmd[0]", "text"],
    ["stdout", { value: false }, INVALID_ARGUMENT, "stdin"],
  ],
  Attach: [...ofContainer, ["stdout", { value: false }, INVALID_ARGUMENT, "stdin"]],
  PortForward: [
    ["pod_sandbox_id", "id", NOT_FOUND, "sandbox"],
    ["pod_sandbox_id", { value: "" }],
    ["port[0]", { value: 65_536 }],
  ],
};

/** At least `count` requests, every way to spoil a field several times, the same for the same seed. */
export function* hostileRequests(podSandboxId: string, count: number, seed: number): Generator<HostileRequest> {
  const random = seeded(seed);
  const all = Object.entries(targets).flatMap(([method, list]) => list.map((target) => [method, target] as const));
  for (let made = 0; made < count; made += all.length) {
    for (const [method, target] of all) yield spoiled(method, valid(method, podSandboxId), target, random);
  }
}

function spoiled(method: string, request: Message, target: Target, random: Random): HostileRequest {
  const [path, poison, code = INVALID_ARGUMENT, field = path] = target;
  const value = typeof poison === "string" ? poisons[poison](random) : poison.value;
  return { method, request: path === "" ? request : withValue(request, keysOf(path), value), code, field };
}

/** Requests that are all right until they are spoiled. */
function valid(method: string, podSandboxId: string): Message {
  const containerId = "f".repeat(64);
  const image = { image: "registry.k8s.io/pause:3.9" };
  if (method === "RunPodSandbox") return { config: sandboxConfig("hostile") };
  if (method === "CreateContainer") {
    const mounts = [{ containerPath: "/data", hostPath: "/etc" }];
    const config = { ...containerConfig("hostile", { mounts }), devices: [device] };
    return { podSandboxId, sandboxConfig: sandboxConfig("target"), config };
  }
  return method.endsWith("Image") || method === "ImageStatus"
    ? { image }
    : { containerId, podSandboxId, cmd: ["true"], stdout: true };
}

const device = { containerPath: "/dev/x", hostPath: "/dev/null", permissions: "rwm" };

/** "a_b[0].c" is ["aB", 0, "c"]. */
function keysOf(path: string): (string | number)[] {
  return path
    .split(/[.[\]]+/)
    .filter((key) => key !== "")
    .map((key) => (/^\d+$/.test(key) ? Number(key) : key.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase())));
}

function withValue(node: unknown, [key, ...rest]: readonly (string | number)[], value: unknown): Message {
  const copy: unknown =
    typeof key === "number" ? [...((node as unknown[] | undefined) ?? [])] : { ...(node as object) };
  const part = copy as Record<string | number, unknown>;
  if (key !== undefined) part[key] = rest.length === 0 ? value : withValue(part[key], rest, value);
  return part as Message;
}

import { status } from "@grpc/grpc-js";
import { type Attack, resources, sandboxAttacks, securityAttacks } from "./hostile-sandbox.fixture.ts";
import {
  anId,
  badCidr,
  badUtf8,
  control,
  escapingRelative,
  hugeKey,
  hugeMap,
  mapping,
  notHexId,
  nothing,
  outOfRange,
  pick,
  type Random,
  relative,
  seeded,
  unknownEnum,
  withNul,
  word,
} from "./hostile-values.fixture.ts";

/** One malformed request, and what must become of it. */
export interface HostileRequest {
  readonly method: string;
  readonly request: object;
  readonly code: status;
  /** The answer's text must name it. */
  readonly field: string;
}

type Message = Record<string, unknown>;
const { INVALID_ARGUMENT, UNIMPLEMENTED, NOT_FOUND } = status;

const mountAttack = (field: string, change: (random: Random) => object, code = INVALID_ARGUMENT): Attack => [
  "config.mounts",
  `config.mounts[1].${field}`,
  (random) => [mount, { ...mount, ...change(random) }],
  code,
];
const mount = { containerPath: "/data", hostPath: "/srv" };
const anImage = { hostPath: "", image: { image: "busybox" }, readonly: true };
const deviceAttack = (field: string, change: (random: Random) => object): Attack => [
  "config.devices",
  `config.devices[0].${field}`,
  (random) => [{ containerPath: "/dev/x", hostPath: "/dev/null", permissions: "rwm", ...change(random) }],
];

const containerAttacks: readonly Attack[] = [
  ["podSandboxId", "pod_sandbox_id", nothing],
  ["podSandboxId", "sandbox", notHexId, NOT_FOUND],
  ["config", "config", () => null],
  ["config.metadata", "config.metadata", () => null],
  ["config.metadata.name", "config.metadata.name", nothing],
  ["config.metadata.name", "config.metadata.name", control],
  ["config.image", "config.image", () => null],
  ["config.image.image", "config.image.image", nothing],
  ["config.image.image", "config.image.image", (random) => `${word(random)} ${word(random)}`],
  ["config.command", "config.command[1]", (random) => ["sh", withNul(random)]],
  ["config.args", "config.args[0]", (random) => [withNul(random)]],
  ["config.args", "config.args", () => new Array(100_001).fill("")],
  ["config.workingDir", "config.working_dir", (random) => relative(random) || "x"],
  [
    "config.envs",
    "config.envs[0].key",
    (random) => [{ key: pick(random, ["", "A=B", "A\0"]), value: Buffer.from("x") }],
  ],
  ["config.envs", "config.envs[0].value", (random) => [{ key: "A", value: Buffer.from(withNul(random)) }]],
  ["config.envs", "config.envs[0].value", badUtf8],
  ["config.labels", "config.labels", hugeMap],
  ["config.annotations", "config.annotations", hugeKey],
  ["config.logPath", "config.log_path", escapingRelative],
  ["config.logPath", "config.log_path", withNul],
  ["config.windows", "config.windows", () => ({}), UNIMPLEMENTED],
  ["config.CDIDevices", "config.CDI_devices", () => [{ name: "v/c=d" }], UNIMPLEMENTED],
  ["config.stopSignal", "config.stop_signal", unknownEnum],
  mountAttack("container_path", (random) => ({ containerPath: relative(random) })),
  mountAttack("host_path", (random) => ({ hostPath: relative(random) })),
  mountAttack("host_path", (random) => ({ hostPath: `/${withNul(random)}` })),
  mountAttack("host_path", () => ({ hostPath: `/${"x".repeat(5000)}` })),
  mountAttack("propagation", (random) => ({ propagation: unknownEnum(random) })),
  mountAttack("recursive_read_only", () => ({ recursiveReadOnly: true })),
  mountAttack("recursive_read_only", () => ({
    ...{ recursiveReadOnly: true, readonly: true },
    propagation: "PROPAGATION_BIDIRECTIONAL",
  })),
  mountAttack("image.image", (random) => ({ ...anImage, image: { image: withNul(random) } })),
  mountAttack("host_path", () => ({ ...anImage, hostPath: "/a" })),
  mountAttack("readonly", () => ({ ...anImage, readonly: false })),
  mountAttack("propagation", () => ({ ...anImage, propagation: "PROPAGATION_BIDIRECTIONAL" })),
  mountAttack("image_sub_path", (random) => ({ imageSubPath: word(random) })),
  mountAttack("image_sub_path", (random) => ({ ...anImage, imageSubPath: `/${word(random)}` })),
  mountAttack("image_sub_path", (random) => ({ ...anImage, imageSubPath: `${word(random)}/../..` })),
  mountAttack("image_sub_path", (random) => ({ ...anImage, imageSubPath: withNul(random) })),
  mountAttack("uidMappings", () => ({ gidMappings: [mapping] })),
  mountAttack("gidMappings", () => ({ uidMappings: [mapping] })),
  mountAttack("mount_options[0]", (random) => ({ mountOptions: [pick(random, ["rw", "exec", "noexec,bind", ""])] })),
  deviceAttack("host_path", (random) => ({ hostPath: relative(random) })),
  deviceAttack("container_path", (random) => ({ containerPath: relative(random) })),
  deviceAttack("permissions", (random) => ({ permissions: pick(random, ["rwx", "r w", "R"]) })),
  ...resources("config.linux.resources", "config.linux.resources"),
  ...securityAttacks("config.linux"),
  ["config.linux.securityContext.namespaceOptions", "target_id", () => ({ pid: "TARGET" })],
  [
    "config.linux.securityContext.capabilities",
    "capabilities.add_capabilities[0]",
    (random) => ({ addCapabilities: [control(random)] }),
  ],
  ["config.linux.securityContext.capabilities", "drop_capabilities[0]", () => ({ dropCapabilities: [""] })],
  [
    "config.linux.securityContext.capabilities",
    "add_ambient_capabilities[0]",
    (random) => ({ addAmbientCapabilities: [control(random)] }),
  ],
  ["config.linux.securityContext.runAsUsername", "run_as_username", control],
  ["config.linux.securityContext.maskedPaths", "masked_paths[0]", (random) => [relative(random)]],
  ["config.linux.securityContext.readonlyPaths", "readonly_paths[0]", (random) => [relative(random)]],
  ["config.linux.securityContext.apparmorProfile", "apparmor_profile", (random) => pick(random, ["x", "localhost/"])],
  ["sandboxConfig.metadata", "sandbox_config.metadata", () => null],
];

const containerConfig = () => ({
  metadata: { name: "c", attempt: 0 },
  image: { image: "busybox" },
  linux: { securityContext: {}, resources: {} },
});
const sandboxConfig = () => ({
  metadata: { name: "p", uid: "u", namespace: "n", attempt: 0 },
  linux: { securityContext: {} },
});
const ofContainer = (more: readonly Attack[] = []): readonly Attack[] => [
  ["containerId", "container_id", nothing],
  ["containerId", "container", notHexId, NOT_FOUND],
  ["containerId", "container", () => "f".repeat(64), NOT_FOUND],
  ...more,
];

/** By method: a request that is all right, and the ways to spoil it. */
const targets: Readonly<Record<string, readonly [valid: () => Message, attacks: readonly Attack[]]>> = {
  RunPodSandbox: [() => ({ config: sandboxConfig() }), sandboxAttacks],
  CreateContainer: [
    () => ({ podSandboxId: anId, config: containerConfig(), sandboxConfig: sandboxConfig() }),
    containerAttacks,
  ],
  PodSandboxStatus: [
    () => ({}),
    [
      ["podSandboxId", "sandbox", notHexId, NOT_FOUND],
      ["podSandboxId", "pod_sandbox_id", nothing],
    ],
  ],
  StopPodSandbox: [() => ({}), [["podSandboxId", "pod_sandbox_id", nothing]]],
  RemovePodSandbox: [() => ({}), [["podSandboxId", "pod_sandbox_id", nothing]]],
  StartContainer: [() => ({}), ofContainer()],
  ContainerStatus: [() => ({}), ofContainer()],
  ReopenContainerLog: [() => ({}), ofContainer()],
  StopContainer: [
    () => ({ containerId: anId }),
    [
      ["containerId", "container_id", nothing],
      ["timeout", "timeout", outOfRange],
    ],
  ],
  RemoveContainer: [() => ({}), [["containerId", "container_id", nothing]]],
  ExecSync: [
    () => ({ containerId: anId, cmd: ["true"] }),
    ofContainer([
      ["cmd", "cmd", () => []],
      ["cmd", "cmd[1]", (random) => ["sh", withNul(random)]],
      ["timeout", "timeout", outOfRange],
    ]),
  ],
  Exec: [
    () => ({ containerId: anId, cmd: ["true"], stdout: true }),
    ofContainer([
      ["cmd", "cmd", () => []],
      ["cmd", "cmd[1]", (random) => ["sh", withNul(random)]],
      ["stdout", "stdin", () => false],
    ]),
  ],
  Attach: [
    () => ({ containerId: anId, stdout: true, tty: true }),
    ofContainer([
      ["stderr", "stderr", () => true],
      ["stdout", "stdin", () => false],
    ]),
  ],
  PortForward: [
    () => ({ podSandboxId: anId }),
    [
      ["podSandboxId", "pod_sandbox_id", nothing],
      ["podSandboxId", "sandbox", notHexId, NOT_FOUND],
      ["port", "port[1]", (random) => [80, pick(random, [0, -1, 65_536])]],
    ],
  ],
  ListPodSandbox: [
    () => ({ filter: {} }),
    [["filter.state", "filter.state", (random) => ({ state: unknownEnum(random) })]],
  ],
  ListContainers: [
    () => ({ filter: {} }),
    [["filter.state", "filter.state", (random) => ({ state: unknownEnum(random) })]],
  ],
  UpdateRuntimeConfig: [
    () => ({ runtimeConfig: { networkConfig: {} } }),
    [["runtimeConfig.networkConfig.podCidr", "runtime_config.network_config.pod_cidr", badCidr]],
  ],
  PullImage: [
    () => ({ image: { image: "busybox" }, auth: {} }),
    [
      ["image", "image", () => null],
      ["image.image", "image.image", control],
      ["image.annotations", "image.annotations", hugeMap],
      ["auth.registryToken", "auth.registry_token", (random) => `${word(random)}\r\nX: y`],
      ["auth.password", "auth.password", () => "x".repeat(70_000)],
    ],
  ],
  ImageStatus: [
    () => ({ image: {} }),
    [
      ["image.image", "image.image", nothing],
      ["image.image", "image.image", control],
    ],
  ],
  RemoveImage: [
    () => ({ image: {} }),
    [
      ["image.image", "image.image", nothing],
      ["image", "image", () => null],
    ],
  ],
};

/** Every attack once, then as many at random as are missing; the same ones for the same seed. */
export function hostileRequests(count: number, seed: number): readonly HostileRequest[] {
  const random = seeded(seed);
  const all = Object.entries(targets).flatMap(([method, [valid, attacks]]) =>
    attacks.map((attack) => () => spoil(method, valid(), attack, random)),
  );
  return Array.from({ length: Math.max(count, all.length) }, (_, index) => (all[index] ?? pick(random, all))());
}

function spoil(method: string, request: Message, [path, field, value, code]: Attack, random: Random): HostileRequest {
  const names = path.split(".");
  const last = names.pop() ?? "";
  let target = request;
  for (const name of names) {
    target[name] ??= {};
    target = target[name] as Message;
  }
  target[last] = value(random);
  return { method, request, code: code ?? INVALID_ARGUMENT, field };
}

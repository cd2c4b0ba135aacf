import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Container } from "../../container/container.ts";
import type { ContainerConfig } from "../../oci/config.ts";
import { loadServices } from "../descriptor.ts";
import type { ContainerConfig as ContainerMessage } from "../generated/runtime/v1/ContainerConfig.ts";
import type { PodSandboxConfig as SandboxMessage } from "../generated/runtime/v1/PodSandboxConfig.ts";
import { toContainerConfig } from "./container-config.ts";
import { fromContainer, fromContainerStatus } from "./container-status.ts";
import { toMilliseconds } from "./duration.ts";
import { toAuth } from "./image-spec.ts";
import { toSandboxConfig } from "./sandbox-config.ts";
import { fromSignalName, toSignalName } from "./signal.ts";

const services = loadServices();

/** As a client sends it and the server reads it. */
function sandbox(message: SandboxMessage) {
  const { requestSerialize, requestDeserialize } = services.runtime.RunPodSandbox;
  return toSandboxConfig("config", requestDeserialize(requestSerialize({ config: message })).config);
}

function container(message: ContainerMessage): ContainerConfig {
  const { requestSerialize, requestDeserialize } = services.runtime.CreateContainer;
  return toContainerConfig("config", requestDeserialize(requestSerialize({ config: message })).config);
}

const metadata = { name: "p", uid: "u", namespace: "n", attempt: 4_294_967_295 };
const minimal = { metadata: { name: "c" }, image: { image: "busybox" } };

describe("a sandbox's configuration", () => {
  it("needs nothing but its metadata", () => {
    assert.deepEqual(sandbox({ metadata }), {
      ...{ metadata, hostname: "", logDirectory: "", dns: undefined, portMappings: [], labels: {}, annotations: {} },
      ...{ cgroupParent: "", sysctls: {}, overhead: undefined, resources: undefined },
      namespaces: { network: "pod", pid: "pod", ipc: "pod", targetId: "" },
      privileged: false,
      seccomp: { type: "unconfined", localhostRef: "" },
      ...{ selinux: undefined, runAsUser: undefined, runAsGroup: undefined },
      ...{ supplementalGroups: [], readonlyRootfs: false },
    });
  });

  it("is what a kubelet sends", () => {
    const config = sandbox({
      ...{ metadata, hostname: "web-0.example", logDirectory: "/var/log/pods/n_p_u" },
      dnsConfig: { servers: ["10.96.0.10", "fe80::1%eth0"], searches: ["svc.cluster.local"], options: ["ndots:5"] },
      portMappings: [
        { protocol: "UDP", containerPort: 53, hostPort: 0 },
        { hostIp: "::1", hostPort: 65_535 },
      ],
      linux: {
        cgroupParent: "/kubepods/burstable/podu",
        sysctls: { "kernel.shm_rmid_forced": "1", "net/ipv4/conf/eth0.100/forwarding": "1" },
        overhead: {},
        resources: { cpuShares: 2, cpuQuota: -1, memorySwapLimitInBytes: -1, hugepageLimits: [{ pageSize: "1GB" }] },
        securityContext: { seccomp: {}, apparmor: {}, namespaceOptions: { pid: "CONTAINER" }, runAsUser: { value: 0 } },
      },
    });
    assert.deepEqual(config.dns?.servers, ["10.96.0.10", "fe80::1%eth0"]);
    assert.deepEqual(config.portMappings[0], { protocol: "udp", containerPort: 53, hostPort: 0, hostIp: "" });
    assert.equal(config.resources?.cpuQuota, -1);
    assert.deepEqual(config.resources?.hugepageLimits, [{ pageSize: "1GB", limit: 0 }]);
    assert.equal(config.overhead?.memoryLimitBytes, 0);
    assert.equal(config.seccomp.type, "runtimeDefault");
    assert.equal(config.runAsUser, 0);
    assert.equal(config.namespaces.pid, "container");
  });

  it("keeps labels and annotations byte by byte", () => {
    const labels = { a: "", "": "b", ["__proto__"]: "c", constructor: "d", "e\nf": "g h" };
    const config = sandbox({ metadata, labels, annotations: labels });
    assert.deepEqual(Object.entries(config.labels).sort(), Object.entries(labels).sort());
    assert.equal(Object.getPrototypeOf(config.annotations), Object.prototype);
  });

  it("may name a user namespace of the node, as kubelets do", () => {
    const namespaceOptions = { usernsOptions: { mode: "NODE" } } as const;
    assert.equal(sandbox({ metadata, linux: { securityContext: { namespaceOptions } } }).namespaces.network, "pod");
  });

  it("may have ids of its own, which rule out what is the node's", () => {
    const mapping = { containerId: 0, hostId: 100_000, length: 65_536 };
    const usernsOptions = { mode: "POD", uids: [mapping], gids: [{ ...mapping, hostId: 7 }] } as const;
    const options = (namespaceOptions: object) =>
      sandbox({ metadata, linux: { securityContext: { namespaceOptions } } });
    assert.deepEqual(options({ usernsOptions }).namespaces.users, { uids: mapping, gids: { ...mapping, hostId: 7 } });
    for (const kind of ["network", "pid", "ipc"]) {
      assert.throws(() => options({ usernsOptions, [kind]: "NODE" }), {
        message: new RegExp(`namespace_options.${kind} is NODE, which userns_options`),
      });
    }
  });
});

describe("a seccomp profile", () => {
  const of = (securityContext: object) => container({ ...minimal, linux: { securityContext } }).security.seccomp;

  it("is unconfined when absent and the default one when empty", () => {
    assert.deepEqual(of({}), { type: "unconfined", localhostRef: "" });
    assert.deepEqual(of({ seccomp: {} }), { type: "runtimeDefault", localhostRef: "" });
    const localhost = { profileType: "Localhost", localhostRef: "/var/lib/kubelet/seccomp/a.json" };
    assert.deepEqual(of({ seccomp: localhost }), { type: "localhost", localhostRef: localhost.localhostRef });
  });

  it("comes from the older field where the newer one is absent", () => {
    assert.equal(of({ seccompProfilePath: "runtime/default" }).type, "runtimeDefault");
    assert.equal(of({ seccompProfilePath: "localhost//a.json" }).localhostRef, "/a.json");
    const both = { seccomp: { profileType: "Unconfined" }, seccompProfilePath: "runtime/default" };
    assert.equal(of(both).type, "unconfined");
  });
});

describe("a container's configuration", () => {
  it("needs nothing but a name and an image", () => {
    const config = container(minimal);
    assert.deepEqual(config.security.namespaces, { network: "pod", pid: "pod", ipc: "pod", targetId: "" });
    assert.deepEqual([config.command, config.resources, config.logPath, config.stopSignal], [[], undefined, "", ""]);
  });

  it("keeps the environment in its order, with any text as a value", () => {
    const value = "a=b\n\u00e9 \ud83d\ude42\ufeff";
    const envs = [
      { key: "A", value: Buffer.from(value) },
      { key: "my.key-1", value: Buffer.alloc(0) },
      { key: "A", value: Buffer.from("\ufeffx") },
    ];
    assert.deepEqual(container({ ...minimal, envs }).envs, [
      { key: "A", value },
      { key: "my.key-1", value: "" },
      { key: "A", value: "\ufeffx" },
    ]);
  });

  it("may join another container's processes", () => {
    const namespaceOptions = { pid: "TARGET", targetId: "abc" } as const;
    const config = container({ ...minimal, linux: { securityContext: { namespaceOptions } } });
    assert.deepEqual(config.security.namespaces, { network: "pod", pid: "target", ipc: "pod", targetId: "abc" });
  });

  it("may name a group where it names a user in either way", () => {
    for (const user of [{ runAsUser: { value: 0 } }, { runAsUsername: "www" }]) {
      const securityContext = { ...user, runAsGroup: { value: "0" } };
      assert.equal(container({ ...minimal, linux: { securityContext } }).security.runAsGroup, 0);
    }
  });

  it("takes an AppArmor profile from either field, the newer one first", () => {
    const localhost = (localhostRef: string) => ({ profileType: "Localhost" as const, localhostRef });
    for (const [securityContext, type, profile] of [
      [{}, undefined, undefined],
      [{ apparmor: {} }, "runtimeDefault", ""],
      [{ apparmor: { profileType: "Unconfined" as const }, apparmorProfile: "localhost/x" }, "unconfined", ""],
      [{ apparmorProfile: "runtime/default" }, "runtimeDefault", ""],
      [{ apparmorProfile: "unconfined" }, "unconfined", ""],
      [{ apparmorProfile: "localhost/a b (c)" }, "localhost", "a b (c)"],
      [{ apparmor: localhost("localhost/x") }, "localhost", "x"],
      [{ apparmor: localhost("x"), apparmorProfile: "runtime/default" }, "localhost", "x"],
    ] as const) {
      const { apparmor } = container({ ...minimal, linux: { securityContext } }).security;
      assert.deepEqual([apparmor?.type, apparmor?.name], [type, profile]);
    }
  });

  it("keeps ambient capabilities apart, and only when there are any", () => {
    const asked = (capabilities: object) => container({ ...minimal, linux: { securityContext: { capabilities } } });
    assert.deepEqual(asked({ addAmbientCapabilities: ["SYS_TIME"] }).security.ambientCapabilities, ["SYS_TIME"]);
    assert.ok(!("ambientCapabilities" in asked({ addCapabilities: ["SYS_TIME"] }).security));
  });

  it("may ask for standard input, which attach will feed", () => {
    const { stdin, stdinOnce } = container({ ...minimal, stdin: true, stdinOnce: true });
    assert.deepEqual([stdin, stdinOnce], [true, true]);
  });
});

describe("a container's status", () => {
  const at = (seconds: number) => Temporal.Instant.fromEpochMilliseconds(1_700_000_000_000 + seconds * 1000);
  const config = container({
    ...minimal,
    ...{ labels: { l: "1" }, annotations: { a: "2" }, logPath: "c/0.log" },
    mounts: [
      { containerPath: "/dev/termination-log", hostPath: "/x", propagation: "PROPAGATION_HOST_TO_CONTAINER" },
      { containerPath: "/ro", hostPath: "/y", readonly: true, recursiveReadOnly: true, selinuxRelabel: true },
    ],
    linux: { resources: { cpuQuota: -1, unified: { "memory.oom.group": "1" } } },
  });
  const made: Container = {
    ...{ id: "a".repeat(64), sandboxId: "b".repeat(64), config, createdAt: at(0) },
    ...{ imageId: "sha256:1", imageRef: "sha256:1", logPath: "/log/c/0.log", stopSignal: "SIGRTMIN+3" },
    user: { uid: 1000, gid: 1000, supplementalGroups: [1000, 1234] },
    state: { phase: "created", pid: 1, startTime: "2", collected: true },
  };

  it("shows an image that is mounted with the id it was resolved to", () => {
    const mounted = container({
      ...minimal,
      mounts: [
        { containerPath: "/x", hostPath: "/y" },
        {
          ...{ containerPath: "/i", image: { image: "tools:1" }, imageSubPath: "bin", readonly: true },
          mountOptions: ["noexec", "nodev"],
        },
      ],
    });
    const status = fromContainerStatus({
      ...made,
      config: mounted,
      imageMounts: [{ index: 1, imageId: "sha256:2" }],
    });
    assert.deepEqual(status.mounts?.[1], {
      ...{ containerPath: "/i", hostPath: "", readonly: true, recursiveReadOnly: false, selinuxRelabel: false },
      ...{ propagation: "PROPAGATION_PRIVATE", imageSubPath: "bin", mountOptions: ["noexec", "nodev"] },
      image: { image: "tools:1", imageRef: "sha256:2", userSpecifiedImage: "", runtimeHandler: "", annotations: {} },
    });
  });

  it("echoes the configuration and nothing of our own", () => {
    const status = fromContainerStatus(made);
    assert.deepEqual(status.mounts, [
      {
        ...{ containerPath: "/dev/termination-log", hostPath: "/x", readonly: false, recursiveReadOnly: false },
        ...{ selinuxRelabel: false, propagation: "PROPAGATION_HOST_TO_CONTAINER" },
      },
      {
        ...{ containerPath: "/ro", hostPath: "/y", readonly: true, recursiveReadOnly: true },
        ...{ selinuxRelabel: true, propagation: "PROPAGATION_PRIVATE" },
      },
    ]);
    assert.deepEqual([status.imageId, status.imageRef, status.image?.image], ["sha256:1", "sha256:1", "busybox"]);
    assert.deepEqual(status.user, { linux: { uid: 1000, gid: 1000, supplementalGroups: [1000, 1234] } });
    assert.deepEqual([status.logPath, status.stopSignal], ["/log/c/0.log", "SIGNAL_SIGRTMINPLUS3"]);
    assert.deepEqual([status.labels, status.annotations], [{ l: "1" }, { a: "2" }]);
    assert.equal(status.resources?.linux?.cpuQuota, -1);
  });

  const running = { phase: "running", pid: 1, startTime: "2", startedAt: at(1) } as const;
  const end = { startedAt: at(1), finishedAt: at(2), reason: "OOMKilled", message: "m", exitCode: 137 } as const;
  const table: readonly (readonly [Container["state"], string, number[]])[] = [
    [made.state, "CONTAINER_CREATED", [0, 0, 0]],
    [{ ...running, phase: "starting" }, "CONTAINER_CREATED", [0, 0, 0]],
    [running, "CONTAINER_RUNNING", [1_700_000_001, 0, 0]],
    [{ phase: "exited", ...end }, "CONTAINER_EXITED", [1_700_000_001, 1_700_000_002, 137]],
    [{ phase: "exited", ...end, startedAt: undefined }, "CONTAINER_EXITED", [0, 1_700_000_002, 137]],
    [{ phase: "unknown", ...end, exitCode: 255 }, "CONTAINER_UNKNOWN", [1_700_000_001, 1_700_000_002, 255]],
  ];
  for (const [state, shown, [started, finished, code]] of table) {
    it(`of one that is ${state.phase} says ${shown}`, () => {
      const status = fromContainerStatus({ ...made, state });
      const seconds = [status.startedAt, status.finishedAt].map((time) => Number(BigInt(String(time)) / 10n ** 9n));
      assert.deepEqual([status.state, ...seconds, status.exitCode], [shown, started, finished, code]);
      assert.equal(status.createdAt, "1700000000000000000");
      assert.equal(fromContainer({ ...made, state }).state, shown);
    });
  }
});

describe("the small conversions", () => {
  it("name a signal in both ways", () => {
    for (const [value, name] of [
      ["SIGNAL_RUNTIME_DEFAULT", ""],
      ["SIGNAL_SIGTERM", "SIGTERM"],
      ["SIGNAL_SIGRTMIN", "SIGRTMIN"],
      ["SIGNAL_SIGRTMAXMINUS14", "SIGRTMAX-14"],
    ] as const) {
      assert.equal(toSignalName("stop_signal", value), name);
      if (name !== "") assert.equal(fromSignalName(name), value);
    }
    assert.equal(fromSignalName("SIG99"), "SIGNAL_RUNTIME_DEFAULT");
    assert.equal(fromSignalName("toString"), "SIGNAL_RUNTIME_DEFAULT");
  });

  it("cut a grace period to what a timer can wait", () => {
    assert.equal(toMilliseconds("timeout", "30"), 30_000);
    assert.equal(toMilliseconds("timeout", "31536000"), 2 ** 31 - 1);
    assert.equal(toMilliseconds("timeout", String(Number.MAX_SAFE_INTEGER)), 2 ** 31 - 1);
  });

  it("see no credentials where all are empty, and never repeat one", () => {
    const empty = { username: "", password: "", auth: "", serverAddress: "", identityToken: "", registryToken: "" };
    assert.equal(toAuth("auth", empty), undefined);
    assert.equal(toAuth("auth", null), undefined);
    assert.throws(
      () => toAuth("auth", { ...empty, identityToken: "se\ncret" }),
      (error: Error) => error.message.startsWith("auth.identity_token ") && !error.message.includes("cret"),
    );
  });
});

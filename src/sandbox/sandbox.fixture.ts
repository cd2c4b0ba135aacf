import type { SandboxConfig } from "../oci/config.ts";
import type { Sandbox } from "./sandbox.ts";

/** A sandbox's config in which nothing is asked for but what a test says. */
export function aSandboxConfig(asked: Partial<SandboxConfig> = {}): SandboxConfig {
  return {
    metadata: { name: "web", uid: "u1", namespace: "default", attempt: 0 },
    hostname: "web",
    logDirectory: "",
    dns: undefined,
    portMappings: [],
    labels: {},
    annotations: {},
    cgroupParent: "",
    sysctls: {},
    overhead: undefined,
    resources: undefined,
    namespaces: { network: "pod", pid: "container", ipc: "pod", targetId: "" },
    privileged: false,
    seccomp: { type: "runtimeDefault", localhostRef: "" },
    selinux: undefined,
    runAsUser: undefined,
    runAsGroup: undefined,
    supplementalGroups: [],
    readonlyRootfs: false,
    ...asked,
  };
}

export function aSandbox(asked: Partial<SandboxConfig> = {}): Sandbox {
  return {
    id: "5".repeat(64),
    config: aSandboxConfig(asked),
    runtimeHandler: "",
    createdAt: Temporal.Instant.fromEpochMilliseconds(0),
    state: { phase: "ready" },
    ips: ["10.0.0.2"],
  };
}

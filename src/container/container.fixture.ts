import type { ContainerConfig } from "../oci/config.ts";
import type { Container, ContainerState } from "./container.ts";

/** A container's config in which nothing is asked for but what a test says. */
export function aContainerConfig(asked: Partial<ContainerConfig>): ContainerConfig {
  return {
    metadata: { name: "app", attempt: 0 },
    image: { image: "busybox", userSpecifiedImage: "", runtimeHandler: "", annotations: {} },
    command: [],
    args: [],
    workingDir: "",
    envs: [],
    mounts: [],
    devices: [],
    labels: {},
    annotations: {},
    logPath: "",
    stdin: false,
    stdinOnce: false,
    tty: false,
    resources: undefined,
    security: {
      addCapabilities: [],
      dropCapabilities: [],
      privileged: false,
      namespaces: { network: "pod", pid: "container", ipc: "pod", targetId: "" },
      selinux: undefined,
      runAsUser: undefined,
      runAsGroup: undefined,
      runAsUsername: "",
      readonlyRootfs: false,
      supplementalGroups: [],
      supplementalGroupsPolicy: "merge",
      noNewPrivs: false,
      maskedPaths: [],
      readonlyPaths: [],
      seccomp: { type: "unconfined", localhostRef: "" },
    },
    stopSignal: "",
    ...asked,
  };
}

export const epoch = Temporal.Instant.fromEpochMilliseconds(0);

export function aContainer(state: ContainerState): Container {
  return {
    id: "c".repeat(64),
    sandboxId: "5".repeat(64),
    config: aContainerConfig({}),
    createdAt: epoch,
    imageId: `sha256:${"1".repeat(64)}`,
    imageRef: "busybox",
    logPath: "",
    user: { uid: 0, gid: 0, supplementalGroups: [0] },
    stopSignal: "SIGTERM",
    state,
  };
}

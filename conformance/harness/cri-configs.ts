import { cgroupParent } from "./cgroup-driver.ts";
import type { Message } from "./cri-answers.ts";

/** The image that test containers run unless they name another one: it has a shell. */
export const busybox = "registry.k8s.io/e2e-test-images/busybox:1.29-2";

const namespace = "conformance";

/** What tests vary of a sandbox. */
export interface SandboxOptions {
  readonly attempt?: number;
  readonly uid?: string;
  /** Whose PID namespace containers get: `CONTAINER` (the default) each its own, `POD` one for all. */
  readonly pid?: "CONTAINER" | "POD" | "NODE";
  readonly hostNetwork?: boolean;
  readonly portMappings?: readonly Message[];
  readonly logDirectory?: string;
  readonly cgroupParent?: string;
  readonly sysctls?: Readonly<Record<string, string>>;
  /** The host's id of its root, which makes a user namespace of 65,536 ids. */
  readonly firstId?: number;
}

/** A sandbox's configuration as a kubelet sends it. */
export function sandboxConfig(name: string, options: SandboxOptions = {}): Message {
  const { attempt = 0, uid = `uid-${name}`, pid = "CONTAINER", hostNetwork = false } = options;
  return {
    metadata: { name, uid, namespace, attempt },
    hostname: hostNetwork ? "" : name,
    logDirectory: options.logDirectory ?? "",
    dnsConfig: { servers: ["10.10.10.10"], searches: ["example.org"], options: ["ndots:5"] },
    portMappings: options.portMappings ?? [],
    labels: podLabels(name, uid),
    annotations: { "kubernetes.io/config.source": "api" },
    linux: {
      cgroupParent: options.cgroupParent ?? cgroupParent("nacelle-conformance"),
      sysctls: options.sysctls ?? {},
      securityContext: {
        namespaceOptions: { network: hostNetwork ? "NODE" : "POD", pid, ipc: "POD", ...users(options.firstId) },
        seccomp: { profileType: "RuntimeDefault" },
      },
      resources: { cpuPeriod: "100000", cpuShares: "2", memoryLimitInBytes: "0" },
    },
  };
}

/** What tests vary of a container. */
export interface ContainerOptions {
  readonly attempt?: number;
  readonly image?: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  /** Below the sandbox's log directory. */
  readonly logPath?: string;
  readonly mounts?: readonly Message[];
  readonly devices?: readonly Message[];
  /** Host path of the termination log: a kubelet makes another one for each call. */
  readonly terminationPath?: string;
  readonly envs?: readonly Message[];
  readonly workingDir?: string;
  readonly pid?: "CONTAINER" | "POD" | "NODE";
  /** As its sandbox's. */
  readonly firstId?: number;
  /** More fields of `linux.securityContext`. */
  readonly securityContext?: Message;
  /** More fields of `linux.resources`. */
  readonly resources?: Message;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A container's configuration as a kubelet sends it; without a command it waits until it is told to end. */
export function containerConfig(name: string, options: ContainerOptions = {}): Message {
  const { attempt = 0, image = busybox, pid = "CONTAINER" } = options;
  return {
    metadata: { name, attempt },
    image: { image, userSpecifiedImage: image },
    command: options.command ?? ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"],
    args: options.args ?? [],
    workingDir: options.workingDir ?? "",
    envs: options.envs ?? [env("KUBERNETES_SERVICE_HOST", "10.96.0.1")],
    mounts: [...(options.mounts ?? []), ...terminationMount(options.terminationPath)],
    devices: options.devices ?? [],
    labels: { "io.kubernetes.container.name": name },
    annotations: { "io.kubernetes.container.restartCount": String(attempt), ...options.annotations },
    logPath: options.logPath ?? "",
    linux: {
      resources: {
        ...{ cpuPeriod: "100000", cpuShares: "102", memoryLimitInBytes: "67108864", oomScoreAdj: "500" },
        ...options.resources,
      },
      securityContext: {
        namespaceOptions: { network: "POD", pid, ipc: "POD", ...users(options.firstId) },
        seccomp: { profileType: "RuntimeDefault" },
        ...options.securityContext,
      },
    },
  };
}

/** The one mapping of a pod whose root has this id on the host. */
export function idMappings(firstId: number): Message[] {
  return [{ containerId: 0, hostId: firstId, length: 65_536 }];
}

function users(firstId: number | undefined): Message {
  if (firstId === undefined) return {};
  return { usernsOptions: { mode: "POD", uids: idMappings(firstId), gids: idMappings(firstId) } };
}

/** An environment variable; on the wire its value is bytes. */
export function env(key: string, value: string): Message {
  return { key, value: Buffer.from(value) };
}

function podLabels(name: string, uid: string): Record<string, string> {
  return {
    "io.kubernetes.pod.name": name,
    "io.kubernetes.pod.namespace": namespace,
    "io.kubernetes.pod.uid": uid,
  };
}

function terminationMount(hostPath: string | undefined): Message[] {
  return hostPath === undefined ? [] : [{ containerPath: "/dev/termination-log", hostPath }];
}

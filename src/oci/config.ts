/**
 * What a client asks for, in the words of the CRI, after validation: no `undefined` where the CRI
 * has a default, numbers are safe integers, paths are absolute where the CRI wants them so.
 * These values are written to the state store once and never change.
 */

export type NamespaceMode = "pod" | "container" | "node" | "target";

/** One range of ids: `length` of them, which begin with `containerId` inside and with `hostId` on the host. */
export interface IdMapping {
  readonly containerId: number;
  readonly hostId: number;
  readonly length: number;
}

/** Whose ids a pod has. Both ranges begin with id 0 inside. */
export interface UserNamespace {
  readonly uids: IdMapping;
  readonly gids: IdMapping;
}

export interface NamespaceOptions {
  readonly network: "pod" | "node";
  readonly pid: NamespaceMode;
  readonly ipc: "pod" | "node";
  /** The container whose PID namespace is joined; only with `pid: "target"`. */
  readonly targetId: string;
  /** Absent: the host's ids for a sandbox, the sandbox's for a container. "node" is only ever a container's. */
  readonly users?: UserNamespace | "node";
}

export interface SeccompProfile {
  readonly type: "runtimeDefault" | "unconfined" | "localhost";
  /** Absolute path of the profile file; empty unless `type` is "localhost". */
  readonly localhostRef: string;
}

/** Whose name, in the kernel's list of loaded ones, is `name`; empty unless `type` is "localhost". */
export interface AppArmorProfile {
  readonly type: "runtimeDefault" | "unconfined" | "localhost";
  readonly name: string;
}

export interface SelinuxOptions {
  readonly user: string;
  readonly role: string;
  readonly type: string;
  readonly level: string;
}

export interface Resources {
  /** 0 means "not specified" for every number here, as in the CRI. */
  readonly cpuPeriod: number;
  readonly cpuQuota: number;
  readonly cpuShares: number;
  readonly memoryLimitBytes: number;
  readonly memorySwapLimitBytes: number;
  readonly oomScoreAdj: number;
  readonly cpusetCpus: string;
  readonly cpusetMems: string;
  readonly hugepageLimits: readonly { readonly pageSize: string; readonly limit: number }[];
  readonly unified: Readonly<Record<string, string>>;
}

export interface PortMapping {
  readonly protocol: "tcp" | "udp" | "sctp";
  readonly containerPort: number;
  readonly hostPort: number;
  readonly hostIp: string;
}

export interface DnsConfig {
  readonly servers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
}

export interface SandboxMetadata {
  readonly name: string;
  readonly uid: string;
  readonly namespace: string;
  readonly attempt: number;
}

export interface SandboxConfig {
  readonly metadata: SandboxMetadata;
  readonly hostname: string;
  /** Absolute, or empty: then containers of this sandbox have no log. */
  readonly logDirectory: string;
  /** Absent or with all lists empty: the host's resolv.conf. */
  readonly dns: DnsConfig | undefined;
  readonly portMappings: readonly PortMapping[];
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** As sent, e.g. "/kubepods/burstable/podUID"; empty: nacelle's own default parent. */
  readonly cgroupParent: string;
  readonly sysctls: Readonly<Record<string, string>>;
  readonly overhead: Resources | undefined;
  readonly resources: Resources | undefined;
  readonly namespaces: NamespaceOptions;
  readonly privileged: boolean;
  readonly seccomp: SeccompProfile;
  readonly selinux: SelinuxOptions | undefined;
  /** Absent: not asked for. */
  readonly apparmor?: AppArmorProfile;
  readonly runAsUser: number | undefined;
  readonly runAsGroup: number | undefined;
  readonly supplementalGroups: readonly number[];
  readonly readonlyRootfs: boolean;
}

export interface MountRequest {
  readonly containerPath: string;
  /** Empty when an image is mounted. */
  readonly hostPath: string;
  readonly readonly: boolean;
  readonly recursiveReadOnly: boolean;
  readonly selinuxRelabel: boolean;
  readonly propagation: "private" | "hostToContainer" | "bidirectional";
  /** The image whose root, or a directory in it, is mounted in place of a host path. */
  readonly image?: ImageSpec;
  /** Relative to the image's root; absent: the root. */
  readonly imageSubPath?: string;
  /** Of `MOUNT_OPTIONS`; absent: none. */
  readonly options?: readonly string[];
  /** Whose ids the files have in the container; absent: as they are on the host. */
  readonly idMappings?: UserNamespace;
}

/** What a bind mount may have besides, in the words of mount(8), which are those of runtimes too. */
export const MOUNT_OPTIONS = ["noexec", "nosuid", "nodev", "noatime", "nodiratime", "relatime"] as const;

export interface DeviceRequest {
  readonly containerPath: string;
  readonly hostPath: string;
  /** A subset of "rwm". */
  readonly permissions: string;
}

export interface ImageSpec {
  readonly image: string;
  readonly userSpecifiedImage: string;
  readonly runtimeHandler: string;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface ContainerSecurity {
  readonly addCapabilities: readonly string[];
  readonly dropCapabilities: readonly string[];
  /** Absent: none. */
  readonly ambientCapabilities?: readonly string[];
  readonly privileged: boolean;
  readonly namespaces: NamespaceOptions;
  readonly selinux: SelinuxOptions | undefined;
  /** Absent: not asked for. */
  readonly apparmor?: AppArmorProfile;
  readonly runAsUser: number | undefined;
  readonly runAsGroup: number | undefined;
  readonly runAsUsername: string;
  readonly readonlyRootfs: boolean;
  readonly supplementalGroups: readonly number[];
  readonly supplementalGroupsPolicy: "merge" | "strict";
  readonly noNewPrivs: boolean;
  readonly maskedPaths: readonly string[];
  readonly readonlyPaths: readonly string[];
  readonly seccomp: SeccompProfile;
}

export interface ContainerConfig {
  readonly metadata: { readonly name: string; readonly attempt: number };
  readonly image: ImageSpec;
  readonly command: readonly string[];
  readonly args: readonly string[];
  readonly workingDir: string;
  /** In order; a later one of the same name wins. */
  readonly envs: readonly { readonly key: string; readonly value: string }[];
  readonly mounts: readonly MountRequest[];
  readonly devices: readonly DeviceRequest[];
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Relative to the sandbox's log directory, without `..`; empty: no log. */
  readonly logPath: string;
  readonly stdin: boolean;
  readonly stdinOnce: boolean;
  readonly tty: boolean;
  readonly resources: Resources | undefined;
  readonly security: ContainerSecurity;
  /** Like "SIGTERM" or "SIGRTMIN+3"; empty: the image's, else SIGTERM. */
  readonly stopSignal: string;
}

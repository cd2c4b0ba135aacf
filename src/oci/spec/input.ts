import type { ContainerConfig, MountRequest, SandboxConfig } from "../config.ts";
import type { HandlerFeatures, RuntimeHandler } from "../handler.ts";
import type { ResolvedUser } from "../user.ts";

/** The fields of an image's configuration that a container is made from. Absent ones are empty. */
export interface ImageConfig {
  readonly env: readonly string[];
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly workingDir: string;
  readonly user: string;
  readonly stopSignal: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Container paths. */
  readonly volumes: readonly string[];
}

/** An absolute path joins the namespace pinned there; "new" makes one; "host" is the host's. */
export type NamespaceChoice = string;

export interface NamespaceChoices {
  readonly network: NamespaceChoice;
  readonly ipc: NamespaceChoice;
  readonly uts: NamespaceChoice;
  readonly pid: NamespaceChoice;
  readonly user: NamespaceChoice;
}

/** A mount of the request with what the host really has at its source. */
export interface ResolvedMount {
  readonly request: MountRequest;
  /** Canonical host path. */
  readonly source: string;
  /** How the mount that holds `source` propagates, from mountinfo; absent: not checked. */
  readonly sourcePropagation?: "private" | "slave" | "shared";
}

/** A directory of ours for a volume that only the image declares. */
export interface ImageVolume {
  readonly containerPath: string;
  readonly hostPath: string;
}

/** One device node; the caller has expanded directories. */
export interface ResolvedDevice {
  readonly hostPath: string;
  readonly containerPath: string;
  readonly type: "b" | "c" | "p";
  readonly major: number;
  readonly minor: number;
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** A subset of "rwm". */
  readonly permissions: string;
}

/** Host paths of the files that every container of a sandbox sees; empty: none is mounted. */
export interface ManagedFiles {
  readonly resolvConf: string;
  readonly hosts: string;
  readonly hostname: string;
  /** The sandbox's shm directory, or the host's /dev/shm. */
  readonly shm: string;
}

/** What this host can do. */
export interface HostFacts {
  readonly arch: "x64" | "arm64";
  readonly cgroupMode: "v1" | "hybrid" | "v2";
  /** Names like "CAP_CHOWN" that nacelle itself holds: nobody can be given others. */
  readonly capabilities: ReadonlySet<string>;
  /** Lowest oom_score_adj that may be set here; -1000 with CAP_SYS_RESOURCE. */
  readonly minOomScoreAdj: number;
  /** Hard limits that cannot be exceeded here, by "RLIMIT_NOFILE"; absent: no ceiling. */
  readonly rlimitCeilings: Readonly<Record<string, number>>;
  readonly seccomp: boolean;
  readonly selinux: boolean;
  readonly apparmor: boolean;
  /** Huge page sizes ("2MB") whose controller is mounted; empty where there is none. */
  readonly hugepageSizes: readonly string[];
  readonly swapAccounting: boolean;
  readonly pidsController: boolean;
  /** [major, minor] of the kernel. */
  readonly kernel: readonly [number, number];
}

export interface RuntimeFacts {
  readonly ociVersion: string;
  readonly features: Pick<HandlerFeatures, "recursiveReadOnlyMounts" | "idmappedMounts" | "wholeBindsWithUsers">;
  readonly allowedAnnotations: RuntimeHandler["allowedAnnotations"];
}

/** What the configuration of nacelle adds. */
export interface SpecPolicy {
  readonly ulimits: readonly { readonly type: string; readonly soft: number; readonly hard: number }[];
  /** Processes per container; 0: no limit. */
  readonly pidsLimit: number;
}

/** Everything that a container's spec depends on. Nothing else does: the same input gives the same spec. */
export interface SpecInput {
  readonly containerId: string;
  readonly sandboxId: string;
  readonly config: ContainerConfig;
  readonly sandbox: SandboxConfig;
  readonly image: ImageConfig;
  readonly rootfs: string;
  /** The sandbox's host name, or the host's own with host network. */
  readonly hostname: string;
  readonly user: ResolvedUser & { readonly umask?: number };
  readonly namespaces: NamespaceChoices;
  /** In the order of `config.mounts`. */
  readonly mounts: readonly ResolvedMount[];
  readonly volumes: readonly ImageVolume[];
  readonly devices: readonly ResolvedDevice[];
  /** All of the host's; used only when privileged. */
  readonly hostDevices: readonly ResolvedDevice[];
  readonly files: ManagedFiles;
  /** All of the sandbox's, as `sandboxSysctls` gives them; only those of namespaces that the runtime makes are written. */
  readonly sysctls: readonly (readonly [string, string])[];
  readonly cgroupsPath: string;
  /** Text of the profile when seccomp is "localhost"; else absent. */
  readonly localhostProfile?: string;
  /** Text of the kernel's list of AppArmor profiles; empty without AppArmor. */
  readonly loadedProfiles: string;
  readonly runtime: RuntimeFacts;
  readonly host: HostFacts;
  readonly policy: SpecPolicy;
}

/** What a section's builder gives: its part, and what an operator should know once. */
export interface Section<T> {
  readonly value: T;
  readonly notices: readonly string[];
}

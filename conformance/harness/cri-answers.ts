/** A request or a part of one, in the names of the CRI in camel case. */
export interface Message {
  readonly [field: string]: unknown;
}

/** What tests read of the answers; each has more fields than these. */
export interface Answers {
  readonly Version: { readonly runtimeName: string; readonly runtimeVersion: string };
  readonly Status: {
    readonly status: { readonly conditions: readonly Condition[] };
    readonly runtimeHandlers: readonly ListedHandler[];
  };
  readonly RunPodSandbox: { readonly podSandboxId: string };
  readonly StopPodSandbox: object;
  readonly RemovePodSandbox: object;
  readonly ListPodSandbox: { readonly items: readonly ListedSandbox[] };
  readonly PodSandboxStatus: {
    readonly status: SandboxStatus;
    readonly info: Readonly<Record<string, string>>;
    /** Nanoseconds since 1970. */
    readonly timestamp: string;
    readonly containersStatuses: readonly ContainerStatus[];
  };
  readonly CreateContainer: { readonly containerId: string };
  readonly StartContainer: object;
  readonly StopContainer: object;
  readonly RemoveContainer: object;
  readonly ListContainers: { readonly containers: readonly ListedContainer[] };
  readonly ContainerStatus: { readonly status: ContainerStatus; readonly info: Readonly<Record<string, string>> };
  readonly ExecSync: { readonly stdout: Buffer; readonly stderr: Buffer; readonly exitCode: number };
  readonly PullImage: { readonly imageRef: string };
  readonly ListImages: { readonly images: readonly { readonly id: string; readonly repoTags: readonly string[] }[] };
}

/** One answer of GetContainerEvents. */
export interface PodEvent {
  readonly containerId: string;
  readonly containerEventType: string;
  /** Nanoseconds since 1970. */
  readonly createdAt: string;
  readonly podSandboxStatus: SandboxStatus | null;
  readonly containersStatuses: readonly ContainerStatus[];
}

interface Condition {
  readonly type: string;
  readonly status: boolean;
  readonly reason: string;
  readonly message: string;
}

interface ListedHandler {
  readonly name: string;
  readonly features: { readonly recursiveReadOnlyMounts: boolean; readonly userNamespaces: boolean };
}

interface Metadata {
  readonly name: string;
  readonly attempt: number;
}

interface ListedSandbox {
  readonly id: string;
  readonly metadata: Metadata;
  readonly state: "SANDBOX_READY" | "SANDBOX_NOTREADY";
}

interface SandboxStatus extends ListedSandbox {
  readonly network: { readonly ip: string; readonly additionalIps: readonly { readonly ip: string }[] } | null;
  readonly linux: { readonly namespaces: { readonly options: { readonly usernsOptions: Message | null } } };
}

interface ListedContainer {
  readonly id: string;
  readonly podSandboxId: string;
  readonly metadata: Metadata;
  readonly state: ContainerState;
}

interface ContainerStatus {
  readonly id: string;
  readonly metadata: Metadata;
  readonly state: ContainerState;
  readonly exitCode: number;
  readonly reason: string;
  readonly message: string;
  readonly resources: { readonly linux: Message | null } | null;
  readonly finishedAt: string;
  readonly mounts: readonly MountStatus[];
}

interface MountStatus {
  readonly containerPath: string;
  readonly hostPath: string;
  readonly image: { readonly image: string; readonly imageRef: string } | null;
  readonly imageSubPath: string;
  readonly mountOptions: readonly string[];
}

type ContainerState = "CONTAINER_CREATED" | "CONTAINER_RUNNING" | "CONTAINER_EXITED" | "CONTAINER_UNKNOWN";

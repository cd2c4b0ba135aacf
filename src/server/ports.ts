import type { Container } from "../container/container.ts";
import type { Subscriber } from "../container/event-feed.ts";
import type { FilesystemUsage } from "../image/filesystem-usage.ts";
import type { ContainerConfig, ImageSpec, Resources, SandboxConfig } from "../oci/config.ts";
import type { Sandbox, SandboxLimits } from "../sandbox/sandbox.ts";
import type { MetricDescriptor, SandboxMetrics } from "../stats/metrics.ts";
import type { ContainerStats, SandboxStats } from "../stats/stats.ts";
import type { Asked } from "../streaming/asked.ts";

/**
 * What the gRPC edge asks of the domain. Ids given to these methods may be unique prefixes;
 * an ambiguous one throws `invalidArgument`, an absent one `notFound` (or nothing, where the
 * CRI says that the operation is idempotent).
 */
export interface SandboxPort {
  /** Joins a call in flight for the same name. The answer is durable. */
  run(config: SandboxConfig, runtimeHandler: string, signal: AbortSignal): Promise<string>;
  /** Absent sandbox: nothing to do. */
  stop(id: string, signal: AbortSignal): Promise<void>;
  /** Absent sandbox: nothing to do. Stops it first. */
  remove(id: string, signal: AbortSignal): Promise<void>;
  get(id: string): Sandbox;
  /** From memory; what clients may see, oldest first. */
  list(): readonly Sandbox[];
  /** Everything known about it, for verbose status. */
  describe(id: string): Readonly<Record<string, unknown>>;
}

export interface ExecResult {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly exitCode: number;
}

export interface ContainerPort {
  create(
    sandboxId: string,
    config: ContainerConfig,
    sandboxConfig: SandboxConfig | undefined,
    signal: AbortSignal,
  ): Promise<string>;
  start(id: string, signal: AbortSignal): Promise<void>;
  /** Absent container: nothing to do. */
  stop(id: string, graceMs: number, signal: AbortSignal): Promise<void>;
  /** Absent container: nothing to do. Kills it first. */
  remove(id: string, signal: AbortSignal): Promise<void>;
  get(id: string): Container;
  list(): readonly Container[];
  describe(id: string): Readonly<Record<string, unknown>>;
  /** `timeoutMs` 0: no limit. Past it: rejects with kind "deadlineExceeded" and the process is dead. */
  execSync(id: string, command: readonly string[], timeoutMs: number, signal: AbortSignal): Promise<ExecResult>;
  reopenLog(id: string, signal: AbortSignal): Promise<void>;
}

/** Changes of limits. Ids as above. */
export interface ResourcePort {
  /** What is 0 or empty stays as it is. Resolves when the rest is in force and durable; an ended container is `failedPrecondition`. */
  updateContainer(id: string, resources: Resources, signal: AbortSignal): Promise<void>;
  /** What is absent stays. Durable; a sandbox that is not ready is `failedPrecondition`. */
  updateSandbox(id: string, limits: SandboxLimits): Promise<void>;
}

export interface CheckpointPort {
  /** The file is there when this resolves, and nothing of it when it rejects. `timeoutMs` 0: the runtime's own limit. */
  checkpoint(id: string, location: string, timeoutMs: number, signal: AbortSignal): Promise<void>;
}

export interface EventPort {
  /** The time of a status: every event that is told later has a later one. */
  now(): Temporal.Instant;
  /** Every event from now on, until the result is disposed. */
  subscribe(subscriber: Subscriber): Disposable;
}

export interface Image {
  /** "sha256:" and 64 hex digits: the digest of the image's config. */
  readonly id: string;
  /** Sorted; normalised, e.g. "docker.io/library/busybox:latest". */
  readonly repoTags: readonly string[];
  /** Sorted. */
  readonly repoDigests: readonly string[];
  readonly sizeBytes: number;
  /** From the config's User, when numeric. */
  readonly uid: number | undefined;
  readonly username: string;
  readonly pinned: boolean;
}

export interface AuthConfig {
  readonly username: string;
  readonly password: string;
  readonly auth: string;
  readonly serverAddress: string;
  readonly identityToken: string;
  readonly registryToken: string;
}

export interface ImagePort {
  /** Resolves with the image's id. One flight per reference and credentials. */
  pull(spec: ImageSpec, auth: AuthConfig | undefined, signal: AbortSignal): Promise<string>;
  /** By tag, digest, id or unique id prefix; `undefined` when absent. */
  find(reference: string): Image | undefined;
  list(): readonly Image[];
  /** Removes the image with all its tags. Absent: nothing to do. In use by a container: its files stay until that is gone. */
  remove(reference: string): Promise<void>;
  /** From memory: never walks, never blocks. */
  fsInfo(): { readonly images: FilesystemUsage; readonly containers: FilesystemUsage };
}

/** What pods use. Read when it is asked for, but for what is measured in the background, which has its age. */
export interface StatsPort {
  /** Of the containers given, in their order. */
  containers(containers: readonly Container[]): Promise<readonly ContainerStats[]>;
  /** Of the sandboxes given, in their order. */
  sandboxes(sandboxes: readonly Sandbox[]): Promise<readonly SandboxStats[]>;
  /** Of all sandboxes that are ready. */
  metrics(): Promise<readonly SandboxMetrics[]>;
  descriptors(): readonly MetricDescriptor[];
}

export interface StreamingPort {
  /** Where this can be had, once and within a minute. Throws `resourceExhausted` when too many URLs wait to be used. */
  url(asked: Asked): string;
}

export interface StatusPort {
  readonly version: string;
  /** "cgroupfs" or "systemd". */
  readonly cgroupDriver: "cgroupfs" | "systemd";
  /** `reason` and `message` are empty when true. */
  network(): { readonly ready: boolean; readonly reason: string; readonly message: string };
  runtime(): { readonly ready: boolean; readonly reason: string; readonly message: string };
  /** The default handler is listed under its name and as "". */
  handlers(): readonly {
    readonly name: string;
    readonly recursiveReadOnlyMounts: boolean;
    readonly userNamespaces: boolean;
  }[];
  supplementalGroupsPolicy(): boolean;
  /** For Status(verbose): JSON texts by key; `config` holds `sandboxImage` and `stateDir`. */
  info(): Readonly<Record<string, string>>;
  setPodCidr(cidr: string): void;
}

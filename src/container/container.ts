import { failedPrecondition } from "../lib/errors.ts";
import type { ContainerConfig, Resources } from "../oci/config.ts";
import type { Life } from "../sandbox/pod-events.ts";

export type ExitReason = "Completed" | "Error" | "OOMKilled" | "StartError" | "MonitorLost" | "Rebooted" | "Unknown";

/**
 * creating ──created──▶ created ──start──▶ running ──exit──▶ exited
 *     │                    └────start failed, killed──────────▲
 *     └──failed, cut short, never collected──▶ discarded ──everything freed──▶ (gone)
 *
 * `unknown` is made by recovery alone and carries its reason; its exit code is 255, never 0.
 */
export type ContainerState =
  | { readonly phase: "creating" }
  | { readonly phase: "discarded" }
  | { readonly phase: "created"; readonly pid: number; readonly startTime: string; readonly collected: boolean }
  | {
      readonly phase: "starting" | "running";
      readonly pid: number;
      /** Field 22 of /proc/PID/stat: with the pid it names one process for ever (within a boot). */
      readonly startTime: string;
      readonly startedAt: Temporal.Instant;
    }
  | {
      readonly phase: "exited" | "unknown";
      readonly startedAt: Temporal.Instant | undefined;
      readonly finishedAt: Temporal.Instant;
      readonly exitCode: number;
      readonly reason: ExitReason;
      readonly message: string;
    };

/** What ContainerStatus shows of the user that the process runs as. */
export interface ContainerUser {
  readonly uid: number;
  readonly gid: number;
  /** Sorted, with the primary group. */
  readonly supplementalGroups: readonly number[];
}

/** What updates have made of the limits that a container was created with. */
export interface Limits {
  /** In force, the last time that was known. */
  readonly applied: Resources | undefined;
  /** Promised and being applied: whoever finds it after a crash applies it again. */
  readonly intended?: Resources;
}

export interface Container {
  readonly id: string;
  readonly sandboxId: string;
  readonly config: ContainerConfig;
  readonly createdAt: Temporal.Instant;
  /** Id of the image (64 hex digits with "sha256:"), stable for the container's life. */
  readonly imageId: string;
  /** The reference to show as image_ref. */
  readonly imageRef: string;
  /** Ids of the images that are mounted as volumes, by the place of their mount in `config.mounts`. Absent: none. */
  readonly imageMounts?: readonly { readonly index: number; readonly imageId: string }[];
  /** Absolute; empty when the container has no log. */
  readonly logPath: string;
  readonly user: ContainerUser;
  /** The signal that StopContainer sends first, like "SIGTERM". */
  readonly stopSignal: string;
  /** Absent: never updated, those of `config` are in force. */
  readonly limits?: Limits;
  readonly state: ContainerState;
}

/** Every image that must not go away while the container exists. */
export function imagesOf({ imageId, imageMounts = [] }: Container): readonly string[] {
  return [imageId, ...imageMounts.map((mount) => mount.imageId)];
}

/** The id of the image that `config.mounts[index]` mounts, if it does. */
export function imageOfMount({ imageMounts = [] }: Container, index: number): string | undefined {
  return imageMounts.find((mount) => mount.index === index)?.imageId;
}

/** The limits in force; undefined when the container was created without any and never updated. */
export function resourcesOf({ config, limits }: Container): Resources | undefined {
  return limits === undefined ? config.resources : limits.applied;
}

type Phase = ContainerState["phase"];
type InPhase<P extends Phase> = Container & { readonly state: Extract<ContainerState, { phase: P }> };

/** Listed once its creation was answered to a live call. */
export function isListed(container: Container): boolean {
  const { state } = container;
  if (state.phase === "creating" || state.phase === "discarded") return false;
  return state.phase !== "created" || state.collected;
}

export function isAlive(container: Container): boolean {
  const { phase } = container.state;
  return phase === "created" || phase === "starting" || phase === "running";
}

/** As clients see it; `undefined` while they do not, and when it is gone. */
export function lifeOf(container: Container | undefined): Life | undefined {
  if (container === undefined || !isListed(container)) return undefined;
  if (!isAlive(container)) return "ended";
  return container.state.phase === "running" ? "running" : "created";
}

export function requirePhase<P extends Phase>(container: Container, phase: P): InPhase<P> {
  if (isInPhase(container, phase)) return container;
  throw failedPrecondition(`container ${container.id} is ${container.state.phase}, not ${phase}`, { id: container.id });
}

function isInPhase<P extends Phase>(container: Container, phase: P): container is InPhase<P> {
  return container.state.phase === phase;
}

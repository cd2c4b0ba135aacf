import { type Container, imageOfMount, resourcesOf } from "../../container/container.ts";
import type { Container as ContainerMessage } from "../generated/runtime/v1/Container.ts";
import type { ContainerFilter__Output } from "../generated/runtime/v1/ContainerFilter.ts";
import type { ContainerState__Output } from "../generated/runtime/v1/ContainerState.ts";
import type { ContainerStatus } from "../generated/runtime/v1/ContainerStatus.ts";
import { choice } from "./field.ts";
import { byPrefix } from "./id.ts";
import { fromImageSpec } from "./image-spec.ts";
import { hasLabels } from "./label-selector.ts";
import { fromMount } from "./mount.ts";
import { fromResources } from "./resources.ts";
import { fromSignalName } from "./signal.ts";
import { toNanoseconds } from "./timestamp.ts";

const states = {
  CONTAINER_CREATED: "CONTAINER_CREATED",
  CONTAINER_RUNNING: "CONTAINER_RUNNING",
  CONTAINER_EXITED: "CONTAINER_EXITED",
  CONTAINER_UNKNOWN: "CONTAINER_UNKNOWN",
} as const;

export function fromContainerStatus(container: Container): ContainerStatus {
  const { config, user } = container;
  const resources = resourcesOf(container);
  return {
    id: container.id,
    metadata: config.metadata,
    image: fromImageSpec(config.image),
    imageRef: container.imageRef,
    imageId: container.imageId,
    state: stateOf(container),
    createdAt: toNanoseconds(container.createdAt),
    ...progressOf(container),
    labels: config.labels,
    annotations: config.annotations,
    mounts: config.mounts.map((mount, index) => fromMount(mount, imageOfMount(container, index) ?? "")),
    logPath: container.logPath,
    resources: resources === undefined ? null : { linux: fromResources(resources) },
    user: { linux: { uid: user.uid, gid: user.gid, supplementalGroups: [...user.supplementalGroups] } },
    stopSignal: fromSignalName(container.stopSignal),
  };
}

type Progress = Pick<ContainerStatus, "startedAt" | "finishedAt" | "exitCode" | "reason" | "message">;

function progressOf({ state }: Container): Progress {
  switch (state.phase) {
    case "creating":
    case "created":
    case "discarded":
    // Until the runtime says that the process runs, nobody may count on it.
    case "starting":
      return { startedAt: "0", finishedAt: "0", exitCode: 0, reason: "", message: "" };
    case "running":
      return { startedAt: toNanoseconds(state.startedAt), finishedAt: "0", exitCode: 0, reason: "", message: "" };
    case "exited":
    case "unknown":
      return {
        startedAt: toNanoseconds(state.startedAt),
        finishedAt: toNanoseconds(state.finishedAt),
        exitCode: state.exitCode,
        reason: state.reason,
        message: state.message,
      };
  }
}

export function fromContainer(container: Container): ContainerMessage {
  const { config } = container;
  return {
    id: container.id,
    podSandboxId: container.sandboxId,
    metadata: config.metadata,
    image: fromImageSpec(config.image),
    imageRef: container.imageRef,
    imageId: container.imageId,
    state: stateOf(container),
    createdAt: toNanoseconds(container.createdAt),
    labels: config.labels,
    annotations: config.annotations,
  };
}

function stateOf({ state }: Container): ContainerState__Output {
  switch (state.phase) {
    case "creating":
    case "created":
    case "starting":
      return "CONTAINER_CREATED";
    case "running":
      return "CONTAINER_RUNNING";
    case "exited":
      return "CONTAINER_EXITED";
    case "unknown":
    case "discarded":
      return "CONTAINER_UNKNOWN";
  }
}

/** Those that every condition of the filter holds for, in their order. */
export function filterContainers(
  containers: readonly Container[],
  filter: ContainerFilter__Output | null,
): readonly Container[] {
  if (filter === null) return containers;
  const wanted = filter.state === null ? undefined : choice("filter.state.state", filter.state.state, states);
  const named = filter.id === "" ? containers : byPrefix("filter.id", filter.id, containers, ({ id }) => id);
  const inSandbox =
    filter.podSandboxId === ""
      ? named
      : byPrefix("filter.pod_sandbox_id", filter.podSandboxId, named, ({ sandboxId }) => sandboxId);
  return inSandbox.filter(
    (container) =>
      (wanted === undefined || stateOf(container) === wanted) &&
      hasLabels(container.config.labels, filter.labelSelector),
  );
}

/**
 * Of the containers of one pod, the newest first: a kubelet with EventedPLEG takes the first of a name for the latest, and
 * would otherwise ask again and again for an attempt that has ended.
 */
export function fromContainersOfPod(containers: readonly Container[]) {
  return containers
    .toSorted((a, b) => Temporal.Instant.compare(b.createdAt, a.createdAt))
    .map((container) => fromContainerStatus(container));
}

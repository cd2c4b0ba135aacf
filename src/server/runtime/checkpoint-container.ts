import { toMilliseconds } from "../convert/duration.ts";
import { absolutePath, refuse, withoutDotDot } from "../convert/field.ts";
import { id } from "../convert/id.ts";
import type { CheckpointContainerRequest__Output } from "../generated/runtime/v1/CheckpointContainerRequest.ts";
import type { CheckpointContainerResponse } from "../generated/runtime/v1/CheckpointContainerResponse.ts";
import type { Unary } from "../handler.ts";
import type { CheckpointPort, ContainerPort } from "../ports.ts";

/** An operation may take an hour. */
const MAX_MS = 3_600_000;

export function checkpointContainer(
  containers: Pick<ContainerPort, "get">,
  checkpoints: CheckpointPort,
): Unary<CheckpointContainerRequest__Output, CheckpointContainerResponse> {
  return async ({ containerId, location, timeout }, { signal }) => {
    const container = containers.get(id("container", "container_id", containerId));
    const timeoutMs = Math.min(toMilliseconds("timeout", timeout), MAX_MS);
    await checkpoints.checkpoint(container.id, toLocation(location), timeoutMs, signal);
    return {};
  };
}

/** The path of a file, in one way of writing it. */
function toLocation(text: string): string {
  const location = withoutDotDot("location", absolutePath("location", text));
  if (/\/(\.?\/|\.?$)/.test(location)) throw refuse("location", "must be the path of a file, without empty parts");
  return location;
}

import { toMilliseconds } from "../convert/duration.ts";
import { idIfAny } from "../convert/id.ts";
import type { StopContainerRequest__Output } from "../generated/runtime/v1/StopContainerRequest.ts";
import type { StopContainerResponse } from "../generated/runtime/v1/StopContainerResponse.ts";
import type { Unary } from "../handler.ts";
import type { ContainerPort } from "../ports.ts";

/** An absent container is a success. */
export function stopContainer(
  containers: Pick<ContainerPort, "stop">,
): Unary<StopContainerRequest__Output, StopContainerResponse> {
  return async ({ containerId, timeout }, { signal }) => {
    const id = idIfAny("container_id", containerId);
    const graceMs = toMilliseconds("timeout", timeout);
    if (id !== undefined) await containers.stop(id, graceMs, signal);
    return {};
  };
}

import { idIfAny } from "../convert/id.ts";
import type { RemoveContainerRequest__Output } from "../generated/runtime/v1/RemoveContainerRequest.ts";
import type { RemoveContainerResponse } from "../generated/runtime/v1/RemoveContainerResponse.ts";
import type { Unary } from "../handler.ts";
import type { ContainerPort } from "../ports.ts";

/** An absent container is a success. */
export function removeContainer(
  containers: Pick<ContainerPort, "remove">,
): Unary<RemoveContainerRequest__Output, RemoveContainerResponse> {
  return async ({ containerId }, { signal }) => {
    const id = idIfAny("container_id", containerId);
    if (id !== undefined) await containers.remove(id, signal);
    return {};
  };
}

import { id } from "../convert/id.ts";
import type { StartContainerRequest__Output } from "../generated/runtime/v1/StartContainerRequest.ts";
import type { StartContainerResponse } from "../generated/runtime/v1/StartContainerResponse.ts";
import type { Unary } from "../handler.ts";
import type { ContainerPort } from "../ports.ts";

export function startContainer(
  containers: Pick<ContainerPort, "start">,
): Unary<StartContainerRequest__Output, StartContainerResponse> {
  return async ({ containerId }, { signal }) => {
    await containers.start(id("container", "container_id", containerId), signal);
    return {};
  };
}

import { fromContainerStatus } from "../convert/container-status.ts";
import { id } from "../convert/id.ts";
import { toInfo } from "../convert/verbose.ts";
import type { ContainerStatusRequest__Output } from "../generated/runtime/v1/ContainerStatusRequest.ts";
import type { ContainerStatusResponse } from "../generated/runtime/v1/ContainerStatusResponse.ts";
import type { Unary } from "../handler.ts";
import type { ContainerPort } from "../ports.ts";

export function containerStatus(
  containers: Pick<ContainerPort, "get" | "describe">,
): Unary<ContainerStatusRequest__Output, ContainerStatusResponse> {
  return async ({ containerId, verbose }) => {
    const container = containers.get(id("container", "container_id", containerId));
    return {
      status: fromContainerStatus(container),
      info: verbose ? toInfo(containers.describe(container.id)) : {},
    };
  };
}

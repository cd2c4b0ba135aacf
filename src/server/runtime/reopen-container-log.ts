import { id } from "../convert/id.ts";
import type { ReopenContainerLogRequest__Output } from "../generated/runtime/v1/ReopenContainerLogRequest.ts";
import type { ReopenContainerLogResponse } from "../generated/runtime/v1/ReopenContainerLogResponse.ts";
import type { Unary } from "../handler.ts";
import type { ContainerPort } from "../ports.ts";

export function reopenContainerLog(
  containers: Pick<ContainerPort, "reopenLog">,
): Unary<ReopenContainerLogRequest__Output, ReopenContainerLogResponse> {
  return async ({ containerId }, { signal }) => {
    await containers.reopenLog(id("container", "container_id", containerId), signal);
    return {};
  };
}

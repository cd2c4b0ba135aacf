import { filterContainers, fromContainer } from "../convert/container-status.ts";
import type { ListContainersRequest__Output } from "../generated/runtime/v1/ListContainersRequest.ts";
import type { ListContainersResponse } from "../generated/runtime/v1/ListContainersResponse.ts";
import type { Unary } from "../handler.ts";
import type { ContainerPort } from "../ports.ts";

export function listContainers(
  containers: Pick<ContainerPort, "list">,
): Unary<ListContainersRequest__Output, ListContainersResponse> {
  return async ({ filter }) => ({ containers: filterContainers(containers.list(), filter).map(fromContainer) });
}

import { notImplemented } from "../convert/field.ts";
import { id } from "../convert/id.ts";
import { toResources } from "../convert/resources.ts";
import type { UpdateContainerResourcesRequest__Output } from "../generated/runtime/v1/UpdateContainerResourcesRequest.ts";
import type { UpdateContainerResourcesResponse } from "../generated/runtime/v1/UpdateContainerResourcesResponse.ts";
import type { Unary } from "../handler.ts";
import type { ContainerPort, ResourcePort } from "../ports.ts";

/** A request without limits changes nothing, of a container that exists. */
export function updateContainerResources(
  containers: Pick<ContainerPort, "get">,
  resources: Pick<ResourcePort, "updateContainer">,
): Unary<UpdateContainerResourcesRequest__Output, UpdateContainerResourcesResponse> {
  return async ({ containerId, linux, windows }, { signal }) => {
    const { id: whole } = containers.get(id("container", "container_id", containerId));
    if (windows !== null) throw notImplemented("windows", "Windows containers are");
    const asked = toResources("linux", linux);
    if (asked !== undefined) await resources.updateContainer(whole, asked, signal);
    return {};
  };
}

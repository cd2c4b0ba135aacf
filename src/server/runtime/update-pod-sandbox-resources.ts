import { id } from "../convert/id.ts";
import { toResources } from "../convert/resources.ts";
import type { UpdatePodSandboxResourcesRequest__Output } from "../generated/runtime/v1/UpdatePodSandboxResourcesRequest.ts";
import type { UpdatePodSandboxResourcesResponse } from "../generated/runtime/v1/UpdatePodSandboxResourcesResponse.ts";
import type { Unary } from "../handler.ts";
import type { ResourcePort } from "../ports.ts";

/** A kubelet asks before it changes the sandbox's cgroup: agreeing is all that there is to do. */
export function updatePodSandboxResources(
  resources: Pick<ResourcePort, "updateSandbox">,
): Unary<UpdatePodSandboxResourcesRequest__Output, UpdatePodSandboxResourcesResponse> {
  return async (request) => {
    await resources.updateSandbox(id("sandbox", "pod_sandbox_id", request.podSandboxId), {
      overhead: toResources("overhead", request.overhead),
      resources: toResources("resources", request.resources),
    });
    return {};
  };
}

import { fromContainersOfPod } from "../convert/container-status.ts";
import { id } from "../convert/id.ts";
import { fromSandboxStatus } from "../convert/sandbox-status.ts";
import { toNanoseconds } from "../convert/timestamp.ts";
import { toInfo } from "../convert/verbose.ts";
import type { PodSandboxStatusRequest__Output } from "../generated/runtime/v1/PodSandboxStatusRequest.ts";
import type { PodSandboxStatusResponse } from "../generated/runtime/v1/PodSandboxStatusResponse.ts";
import type { Unary } from "../handler.ts";
import type { ContainerPort, EventPort, SandboxPort } from "../ports.ts";

/** The sandbox and its containers, as they were at one moment; a kubelet compares it with the moments of events. */
export function podSandboxStatus(
  sandboxes: Pick<SandboxPort, "get" | "describe">,
  containers: Pick<ContainerPort, "list">,
  clock: Pick<EventPort, "now">,
): Unary<PodSandboxStatusRequest__Output, PodSandboxStatusResponse> {
  return async ({ podSandboxId, verbose }) => {
    const sandbox = sandboxes.get(id("sandbox", "pod_sandbox_id", podSandboxId));
    const inside = containers.list().filter(({ sandboxId }) => sandboxId === sandbox.id);
    return {
      status: fromSandboxStatus(sandbox),
      containersStatuses: fromContainersOfPod(inside),
      timestamp: toNanoseconds(clock.now()),
      info: verbose ? toInfo(sandboxes.describe(sandbox.id)) : {},
    };
  };
}

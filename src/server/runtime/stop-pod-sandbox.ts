import { idIfAny } from "../convert/id.ts";
import type { StopPodSandboxRequest__Output } from "../generated/runtime/v1/StopPodSandboxRequest.ts";
import type { StopPodSandboxResponse } from "../generated/runtime/v1/StopPodSandboxResponse.ts";
import type { Unary } from "../handler.ts";
import type { SandboxPort } from "../ports.ts";

/** An absent sandbox is a success: kubelets repeat the call until they hear one. */
export function stopPodSandbox(
  sandboxes: Pick<SandboxPort, "stop">,
): Unary<StopPodSandboxRequest__Output, StopPodSandboxResponse> {
  return async ({ podSandboxId }, { signal }) => {
    const id = idIfAny("pod_sandbox_id", podSandboxId);
    if (id !== undefined) await sandboxes.stop(id, signal);
    return {};
  };
}

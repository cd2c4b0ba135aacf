import { idIfAny } from "../convert/id.ts";
import type { RemovePodSandboxRequest__Output } from "../generated/runtime/v1/RemovePodSandboxRequest.ts";
import type { RemovePodSandboxResponse } from "../generated/runtime/v1/RemovePodSandboxResponse.ts";
import type { Unary } from "../handler.ts";
import type { SandboxPort } from "../ports.ts";

/** An absent sandbox is a success: kubelets repeat the call until they hear one. */
export function removePodSandbox(
  sandboxes: Pick<SandboxPort, "remove">,
): Unary<RemovePodSandboxRequest__Output, RemovePodSandboxResponse> {
  return async ({ podSandboxId }, { signal }) => {
    const id = idIfAny("pod_sandbox_id", podSandboxId);
    if (id !== undefined) await sandboxes.remove(id, signal);
    return {};
  };
}

import { line } from "../convert/field.ts";
import { toSandboxConfig } from "../convert/sandbox-config.ts";
import type { RunPodSandboxRequest__Output } from "../generated/runtime/v1/RunPodSandboxRequest.ts";
import type { RunPodSandboxResponse } from "../generated/runtime/v1/RunPodSandboxResponse.ts";
import type { Unary } from "../handler.ts";
import type { SandboxPort } from "../ports.ts";

export function runPodSandbox(
  sandboxes: Pick<SandboxPort, "run">,
): Unary<RunPodSandboxRequest__Output, RunPodSandboxResponse> {
  return async ({ config, runtimeHandler }, { signal }) => {
    const handler = line("runtime_handler", runtimeHandler);
    return { podSandboxId: await sandboxes.run(toSandboxConfig("config", config), handler, signal) };
  };
}

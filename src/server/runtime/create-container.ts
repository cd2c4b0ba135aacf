import { toContainerConfig } from "../convert/container-config.ts";
import { id } from "../convert/id.ts";
import { toSandboxConfig } from "../convert/sandbox-config.ts";
import type { CreateContainerRequest__Output } from "../generated/runtime/v1/CreateContainerRequest.ts";
import type { CreateContainerResponse } from "../generated/runtime/v1/CreateContainerResponse.ts";
import type { Unary } from "../handler.ts";
import type { ContainerPort } from "../ports.ts";

export function createContainer(
  containers: Pick<ContainerPort, "create">,
): Unary<CreateContainerRequest__Output, CreateContainerResponse> {
  return async ({ podSandboxId, config, sandboxConfig }, { signal }) => {
    const sandboxId = id("sandbox", "pod_sandbox_id", podSandboxId);
    const sandbox = sandboxConfig === null ? undefined : toSandboxConfig("sandbox_config", sandboxConfig);
    return { containerId: await containers.create(sandboxId, toContainerConfig("config", config), sandbox, signal) };
  };
}

import { toMilliseconds } from "../convert/duration.ts";
import { list, refuse, text } from "../convert/field.ts";
import { id } from "../convert/id.ts";
import type { ExecSyncRequest__Output } from "../generated/runtime/v1/ExecSyncRequest.ts";
import type { ExecSyncResponse } from "../generated/runtime/v1/ExecSyncResponse.ts";
import type { Unary } from "../handler.ts";
import type { ContainerPort } from "../ports.ts";

/** What the command answers with is no error of the call, whatever its exit code. */
export function execSync(
  containers: Pick<ContainerPort, "execSync">,
): Unary<ExecSyncRequest__Output, ExecSyncResponse> {
  return async ({ containerId, cmd, timeout }, { signal }) => {
    const container = id("container", "container_id", containerId);
    if (cmd.length === 0) throw refuse("cmd", "is empty");
    const command = list("cmd", cmd, text);
    const { stdout, stderr, exitCode } = await containers.execSync(
      container,
      command,
      toMilliseconds("timeout", timeout),
      signal,
    );
    return { stdout, stderr, exitCode };
  };
}

import { requirePhase } from "../../container/container.ts";
import { list, refuse, text } from "../convert/field.ts";
import { id } from "../convert/id.ts";
import { toStreamChoice } from "../convert/stream-choice.ts";
import type { ExecRequest__Output } from "../generated/runtime/v1/ExecRequest.ts";
import type { ExecResponse } from "../generated/runtime/v1/ExecResponse.ts";
import type { Unary } from "../handler.ts";
import type { ContainerPort, StreamingPort } from "../ports.ts";

/** Runs nothing yet: the command begins when a client comes to the URL. */
export function exec(
  containers: Pick<ContainerPort, "get">,
  streaming: StreamingPort,
): Unary<ExecRequest__Output, ExecResponse> {
  return async ({ containerId, cmd, ...streams }) => {
    const asked = id("container", "container_id", containerId);
    if (cmd.length === 0) throw refuse("cmd", "is empty");
    const command = list("cmd", cmd, text);
    const choice = toStreamChoice(streams);
    const container = requirePhase(containers.get(asked), "running");
    return { url: streaming.url({ kind: "exec", request: { containerId: container.id, command, ...choice } }) };
  };
}

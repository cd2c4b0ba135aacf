import { isAlive, requirePhase } from "../../container/container.ts";
import { id } from "../convert/id.ts";
import { toStreamChoice } from "../convert/stream-choice.ts";
import type { AttachRequest__Output } from "../generated/runtime/v1/AttachRequest.ts";
import type { AttachResponse } from "../generated/runtime/v1/AttachResponse.ts";
import type { Unary } from "../handler.ts";
import type { ContainerPort, StreamingPort } from "../ports.ts";

/** Attaches nothing yet: that happens when a client comes to the URL. A container that was created may be attached to. */
export function attach(
  containers: Pick<ContainerPort, "get">,
  streaming: StreamingPort,
): Unary<AttachRequest__Output, AttachResponse> {
  return async ({ containerId, ...streams }) => {
    const asked = id("container", "container_id", containerId);
    const choice = toStreamChoice(streams);
    const container = containers.get(asked);
    if (!isAlive(container)) requirePhase(container, "running");
    return { url: streaming.url({ kind: "attach", request: { containerId: container.id, ...choice } }) };
  };
}

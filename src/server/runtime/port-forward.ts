import { requireReady } from "../../sandbox/sandbox.ts";
import { integer, list } from "../convert/field.ts";
import { id } from "../convert/id.ts";
import type { PortForwardRequest__Output } from "../generated/runtime/v1/PortForwardRequest.ts";
import type { PortForwardResponse } from "../generated/runtime/v1/PortForwardResponse.ts";
import type { Unary } from "../handler.ts";
import type { SandboxPort, StreamingPort } from "../ports.ts";

/** Connects to nothing yet. The ports are for clients whose protocol cannot name them; the others name any. */
export function portForward(
  sandboxes: Pick<SandboxPort, "get">,
  streaming: StreamingPort,
): Unary<PortForwardRequest__Output, PortForwardResponse> {
  return async ({ podSandboxId, port }) => {
    const asked = id("sandbox", "pod_sandbox_id", podSandboxId);
    const ports = list("port", port, (field, number) => integer(field, number, 1, 65_535));
    const sandbox = requireReady(sandboxes.get(asked));
    return { url: streaming.url({ kind: "portforward", sandboxId: sandbox.id, ports }) };
  };
}

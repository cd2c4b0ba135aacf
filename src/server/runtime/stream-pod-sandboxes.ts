import { chunks } from "../convert/chunk.ts";
import { filterSandboxes, fromSandbox } from "../convert/sandbox-status.ts";
import type { PodSandbox } from "../generated/runtime/v1/PodSandbox.ts";
import type { StreamPodSandboxesRequest__Output } from "../generated/runtime/v1/StreamPodSandboxesRequest.ts";
import type { StreamPodSandboxesResponse } from "../generated/runtime/v1/StreamPodSandboxesResponse.ts";
import type { ServerStreaming } from "../handler.ts";
import type { SandboxPort } from "../ports.ts";

/** `sizeOf` gives the bytes of a message on the wire. */
export function streamPodSandboxes(
  sandboxes: Pick<SandboxPort, "list">,
  sizeOf: (sandbox: PodSandbox) => number,
): ServerStreaming<StreamPodSandboxesRequest__Output, StreamPodSandboxesResponse> {
  return function* ({ filter }) {
    const items = filterSandboxes(sandboxes.list(), filter).values().map(fromSandbox);
    for (const podSandboxes of chunks(items, sizeOf)) yield { podSandboxes };
  };
}

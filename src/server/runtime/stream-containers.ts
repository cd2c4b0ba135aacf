import { chunks } from "../convert/chunk.ts";
import { filterContainers, fromContainer } from "../convert/container-status.ts";
import type { Container } from "../generated/runtime/v1/Container.ts";
import type { StreamContainersRequest__Output } from "../generated/runtime/v1/StreamContainersRequest.ts";
import type { StreamContainersResponse } from "../generated/runtime/v1/StreamContainersResponse.ts";
import type { ServerStreaming } from "../handler.ts";
import type { ContainerPort } from "../ports.ts";

/** `sizeOf` gives the bytes of a message on the wire. */
export function streamContainers(
  containers: Pick<ContainerPort, "list">,
  sizeOf: (container: Container) => number,
): ServerStreaming<StreamContainersRequest__Output, StreamContainersResponse> {
  return function* ({ filter }) {
    const items = filterContainers(containers.list(), filter).values().map(fromContainer);
    for (const chunk of chunks(items, sizeOf)) yield { containers: chunk };
  };
}

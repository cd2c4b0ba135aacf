import { chunks } from "../convert/chunk.ts";
import { filterContainers } from "../convert/container-status.ts";
import { fromContainerStats, fromContainerStatsFilter } from "../convert/stats.ts";
import type { ContainerStats } from "../generated/runtime/v1/ContainerStats.ts";
import type { StreamContainerStatsRequest__Output } from "../generated/runtime/v1/StreamContainerStatsRequest.ts";
import type { StreamContainerStatsResponse } from "../generated/runtime/v1/StreamContainerStatsResponse.ts";
import type { ServerStreaming } from "../handler.ts";
import type { ContainerPort, StatsPort } from "../ports.ts";

/** `sizeOf` gives the bytes of a message on the wire. */
export function streamContainerStats(
  containers: Pick<ContainerPort, "list">,
  stats: Pick<StatsPort, "containers">,
  sizeOf: (stats: ContainerStats) => number,
): ServerStreaming<StreamContainerStatsRequest__Output, StreamContainerStatsResponse> {
  return async function* ({ filter }) {
    const wanted = filterContainers(containers.list(), fromContainerStatsFilter(filter));
    const items = (await stats.containers(wanted)).values().map(fromContainerStats);
    for (const chunk of chunks(items, sizeOf)) yield { containerStats: chunk };
  };
}

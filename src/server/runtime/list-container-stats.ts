import { filterContainers } from "../convert/container-status.ts";
import { fromContainerStats, fromContainerStatsFilter } from "../convert/stats.ts";
import type { ListContainerStatsRequest__Output } from "../generated/runtime/v1/ListContainerStatsRequest.ts";
import type { ListContainerStatsResponse } from "../generated/runtime/v1/ListContainerStatsResponse.ts";
import type { Unary } from "../handler.ts";
import type { ContainerPort, StatsPort } from "../ports.ts";

export function listContainerStats(
  containers: Pick<ContainerPort, "list">,
  stats: Pick<StatsPort, "containers">,
): Unary<ListContainerStatsRequest__Output, ListContainerStatsResponse> {
  return async ({ filter }) => {
    const wanted = filterContainers(containers.list(), fromContainerStatsFilter(filter));
    return { stats: (await stats.containers(wanted)).map(fromContainerStats) };
  };
}

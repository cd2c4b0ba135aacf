import { id } from "../convert/id.ts";
import { fromContainerStats } from "../convert/stats.ts";
import type { ContainerStatsRequest__Output } from "../generated/runtime/v1/ContainerStatsRequest.ts";
import type { ContainerStatsResponse } from "../generated/runtime/v1/ContainerStatsResponse.ts";
import type { Unary } from "../handler.ts";
import type { ContainerPort, StatsPort } from "../ports.ts";

/** Of one that has exited: who it is and what it has written, but neither CPU nor memory. */
export function containerStats(
  containers: Pick<ContainerPort, "get">,
  stats: Pick<StatsPort, "containers">,
): Unary<ContainerStatsRequest__Output, ContainerStatsResponse> {
  return async ({ containerId }) => {
    const [found] = await stats.containers([containers.get(id("container", "container_id", containerId))]);
    return { stats: found === undefined ? null : fromContainerStats(found) };
  };
}

import { filterSandboxes } from "../convert/sandbox-status.ts";
import { fromSandboxStats, fromSandboxStatsFilter } from "../convert/stats.ts";
import type { ListPodSandboxStatsRequest__Output } from "../generated/runtime/v1/ListPodSandboxStatsRequest.ts";
import type { ListPodSandboxStatsResponse } from "../generated/runtime/v1/ListPodSandboxStatsResponse.ts";
import type { Unary } from "../handler.ts";
import type { SandboxPort, StatsPort } from "../ports.ts";

/** Those that are not ready use nothing, and are left out. */
export function listPodSandboxStats(
  sandboxes: Pick<SandboxPort, "list">,
  stats: Pick<StatsPort, "sandboxes">,
): Unary<ListPodSandboxStatsRequest__Output, ListPodSandboxStatsResponse> {
  return async ({ filter }) => {
    const named = filterSandboxes(sandboxes.list(), fromSandboxStatsFilter(filter));
    const ready = named.filter(({ state }) => state.phase === "ready");
    return { stats: (await stats.sandboxes(ready)).map(fromSandboxStats) };
  };
}

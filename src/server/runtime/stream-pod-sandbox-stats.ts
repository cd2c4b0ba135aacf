import { chunks } from "../convert/chunk.ts";
import { filterSandboxes } from "../convert/sandbox-status.ts";
import { fromSandboxStats, fromSandboxStatsFilter } from "../convert/stats.ts";
import type { PodSandboxStats } from "../generated/runtime/v1/PodSandboxStats.ts";
import type { StreamPodSandboxStatsRequest__Output } from "../generated/runtime/v1/StreamPodSandboxStatsRequest.ts";
import type { StreamPodSandboxStatsResponse } from "../generated/runtime/v1/StreamPodSandboxStatsResponse.ts";
import type { ServerStreaming } from "../handler.ts";
import type { SandboxPort, StatsPort } from "../ports.ts";

/** `sizeOf` gives the bytes of a message on the wire. */
export function streamPodSandboxStats(
  sandboxes: Pick<SandboxPort, "list">,
  stats: Pick<StatsPort, "sandboxes">,
  sizeOf: (stats: PodSandboxStats) => number,
): ServerStreaming<StreamPodSandboxStatsRequest__Output, StreamPodSandboxStatsResponse> {
  return async function* ({ filter }) {
    const named = filterSandboxes(sandboxes.list(), fromSandboxStatsFilter(filter));
    const ready = named.filter(({ state }) => state.phase === "ready");
    const items = (await stats.sandboxes(ready)).values().map(fromSandboxStats);
    for (const chunk of chunks(items, sizeOf)) yield { podSandboxStats: chunk };
  };
}

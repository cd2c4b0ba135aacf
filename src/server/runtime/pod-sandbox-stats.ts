import { id } from "../convert/id.ts";
import { fromSandboxStats } from "../convert/stats.ts";
import type { PodSandboxStatsRequest__Output } from "../generated/runtime/v1/PodSandboxStatsRequest.ts";
import type { PodSandboxStatsResponse } from "../generated/runtime/v1/PodSandboxStatsResponse.ts";
import type { Unary } from "../handler.ts";
import type { SandboxPort, StatsPort } from "../ports.ts";

/** Of one that is not ready: who it is, and nothing else. */
export function podSandboxStats(
  sandboxes: Pick<SandboxPort, "get">,
  stats: Pick<StatsPort, "sandboxes">,
): Unary<PodSandboxStatsRequest__Output, PodSandboxStatsResponse> {
  return async ({ podSandboxId }) => {
    const [found] = await stats.sandboxes([sandboxes.get(id("sandbox", "pod_sandbox_id", podSandboxId))]);
    return { stats: found === undefined ? null : fromSandboxStats(found) };
  };
}

import { fromSandboxMetrics } from "../convert/metric.ts";
import type { ListPodSandboxMetricsRequest__Output } from "../generated/runtime/v1/ListPodSandboxMetricsRequest.ts";
import type { ListPodSandboxMetricsResponse } from "../generated/runtime/v1/ListPodSandboxMetricsResponse.ts";
import type { Unary } from "../handler.ts";
import type { StatsPort } from "../ports.ts";

export function listPodSandboxMetrics(
  stats: Pick<StatsPort, "metrics">,
): Unary<ListPodSandboxMetricsRequest__Output, ListPodSandboxMetricsResponse> {
  return async () => ({ podMetrics: (await stats.metrics()).map(fromSandboxMetrics) });
}

import { chunks } from "../convert/chunk.ts";
import { fromSandboxMetrics } from "../convert/metric.ts";
import type { PodSandboxMetrics } from "../generated/runtime/v1/PodSandboxMetrics.ts";
import type { StreamPodSandboxMetricsRequest__Output } from "../generated/runtime/v1/StreamPodSandboxMetricsRequest.ts";
import type { StreamPodSandboxMetricsResponse } from "../generated/runtime/v1/StreamPodSandboxMetricsResponse.ts";
import type { ServerStreaming } from "../handler.ts";
import type { StatsPort } from "../ports.ts";

/** `sizeOf` gives the bytes of a message on the wire. */
export function streamPodSandboxMetrics(
  stats: Pick<StatsPort, "metrics">,
  sizeOf: (metrics: PodSandboxMetrics) => number,
): ServerStreaming<StreamPodSandboxMetricsRequest__Output, StreamPodSandboxMetricsResponse> {
  return async function* () {
    const items = (await stats.metrics()).values().map(fromSandboxMetrics);
    for (const chunk of chunks(items, sizeOf)) yield { podSandboxMetrics: chunk };
  };
}

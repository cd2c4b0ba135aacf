import type { Metric, MetricDescriptor, SandboxMetrics } from "../../stats/metrics.ts";
import type { Metric as MetricMessage } from "../generated/runtime/v1/Metric.ts";
import type { MetricDescriptor as MetricDescriptorMessage } from "../generated/runtime/v1/MetricDescriptor.ts";
import type { PodSandboxMetrics } from "../generated/runtime/v1/PodSandboxMetrics.ts";

export function fromMetricDescriptor({ name, help, labelKeys }: MetricDescriptor): MetricDescriptorMessage {
  return { name, help, labelKeys: [...labelKeys] };
}

export function fromSandboxMetrics({ sandboxId, metrics, containers }: SandboxMetrics): PodSandboxMetrics {
  return {
    podSandboxId: sandboxId,
    metrics: metrics.map(fromMetric),
    containerMetrics: containers.map((container) => {
      return { containerId: container.containerId, metrics: container.metrics.map(fromMetric) };
    }),
  };
}

function fromMetric({ name, type, timeNs, labelValues, value }: Metric): MetricMessage {
  return {
    name,
    timestamp: timeNs.toString(),
    metricType: type === "counter" ? "COUNTER" : "GAUGE",
    labelValues: [...labelValues],
    value: { value },
  };
}

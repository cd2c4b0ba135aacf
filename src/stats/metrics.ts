import type { Container } from "../container/container.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { type MetricKind, type MetricSubject, metricTable } from "./metric-table.ts";
import type { ContainerStats, SandboxStats } from "./stats.ts";

export interface MetricDescriptor {
  readonly name: string;
  readonly help: string;
  readonly labelKeys: readonly string[];
}

export interface Metric {
  readonly name: string;
  readonly type: "counter" | "gauge";
  readonly timeNs: bigint;
  /** In the order of the descriptor's keys. */
  readonly labelValues: readonly string[];
  readonly value: number;
}

export interface SandboxMetrics {
  readonly sandboxId: string;
  readonly metrics: readonly Metric[];
  readonly containers: readonly { readonly containerId: string; readonly metrics: readonly Metric[] }[];
}

/** Labels of every metric, as a kubelet's cAdvisor has them. */
const commonKeys = ["container", "id", "image", "name", "namespace", "pod"];

/** Whose cgroup is where; for the label `id`. */
export interface CgroupNames {
  readonly cgroupOf: (sandbox: Sandbox, containerId: string) => string;
  readonly parentOf: (sandbox: Sandbox) => string;
}

/** The metrics that this host's pods have. It must not change while we run: a kubelet asks once. */
export function describeMetrics(hasPressure: boolean): readonly MetricDescriptor[] {
  return kinds(hasPressure).map(({ name, help, labels }) => ({ name, help, labelKeys: [...commonKeys, ...labels] }));
}

/** The metrics of a sandbox and its containers; only such as `describeMetrics` names. */
export function metricsOf(stats: SandboxStats, names: CgroupNames, hasPressure: boolean): SandboxMetrics {
  const { sandbox, usage, network, containers } = stats;
  const own: MetricSubject = {
    usage,
    network,
    startedAt: sandbox.createdAt,
    writableLayer: undefined,
    isContainer: false,
  };
  return {
    sandboxId: sandbox.id,
    metrics: valuesOf(own, labelsOf(sandbox, names.parentOf(sandbox), undefined), hasPressure),
    containers: containers.map((one) => {
      const labels = labelsOf(sandbox, names.cgroupOf(sandbox, one.container.id), one.container);
      return { containerId: one.container.id, metrics: valuesOf(subjectOf(one), labels, hasPressure) };
    }),
  };
}

function kinds(hasPressure: boolean): readonly MetricKind[] {
  return metricTable.filter(({ needsPressure }) => hasPressure || needsPressure === undefined);
}

function subjectOf({ container, usage, writableLayer }: ContainerStats): MetricSubject {
  const startedAt = container.state.phase === "running" ? container.state.startedAt : undefined;
  return { usage, writableLayer, startedAt, isContainer: true, network: undefined };
}

function labelsOf({ config }: Sandbox, cgroup: string, container: Container | undefined): readonly string[] {
  const { name, namespace } = config.metadata;
  const image = container?.config.image.userSpecifiedImage || container?.config.image.image || "";
  return [container?.config.metadata.name ?? "", cgroup, image, container?.id ?? "", namespace, name];
}

function valuesOf(subject: MetricSubject, common: readonly string[], hasPressure: boolean): readonly Metric[] {
  const timeNs = subject.usage?.timeNs ?? subject.network?.timeNs;
  if (timeNs === undefined) return [];
  return kinds(hasPressure).flatMap(({ name, type, of }) =>
    of(subject).map(({ labels, value }) => ({ name, type, timeNs, labelValues: [...common, ...labels], value })),
  );
}

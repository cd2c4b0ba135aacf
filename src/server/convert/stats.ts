import type { ContainerStats, SandboxStats, Usage } from "../../stats/stats.ts";
import type { ContainerStats as ContainerStatsMessage } from "../generated/runtime/v1/ContainerStats.ts";
import type { ContainerStatsFilter__Output } from "../generated/runtime/v1/ContainerStatsFilter.ts";
import type { CpuUsage } from "../generated/runtime/v1/CpuUsage.ts";
import type { MemoryUsage } from "../generated/runtime/v1/MemoryUsage.ts";
import type { NetworkInterfaceUsage } from "../generated/runtime/v1/NetworkInterfaceUsage.ts";
import type { NetworkUsage } from "../generated/runtime/v1/NetworkUsage.ts";
import type { PodSandboxStats } from "../generated/runtime/v1/PodSandboxStats.ts";
import type { PodSandboxStatsFilter__Output } from "../generated/runtime/v1/PodSandboxStatsFilter.ts";
import type { PsiStats } from "../generated/runtime/v1/PsiStats.ts";
import type { SwapUsage } from "../generated/runtime/v1/SwapUsage.ts";
import type { UInt64Value } from "../generated/runtime/v1/UInt64Value.ts";
import { fromFilesystemUsage } from "./image.ts";

type Figures = Usage["figures"];
type Pressure = Figures["cpuPressure"];

export function fromContainerStats({ container, usage, writableLayer }: ContainerStats): ContainerStatsMessage {
  const { metadata, labels, annotations } = container.config;
  return {
    attributes: { id: container.id, metadata, labels, annotations },
    cpu: usage === undefined ? null : fromCpu(usage),
    memory: usage === undefined ? null : fromMemory(usage),
    swap: usage === undefined ? null : fromSwap(usage),
    io: usage === undefined ? null : fromIo(usage),
    writableLayer: writableLayer === undefined ? null : fromFilesystemUsage(writableLayer),
  };
}

export function fromSandboxStats({ sandbox, usage, network, containers }: SandboxStats): PodSandboxStats {
  const { metadata, labels, annotations } = sandbox.config;
  return {
    attributes: { id: sandbox.id, metadata, labels, annotations },
    linux: {
      cpu: usage === undefined ? null : fromCpu(usage),
      memory: usage === undefined ? null : fromMemory(usage),
      io: usage === undefined ? null : fromIo(usage),
      process: usage === undefined ? null : fromProcesses(usage),
      network: network === undefined ? null : fromNetwork(network),
      containers: containers.map(fromContainerStats),
    },
  };
}

function fromCpu({ timeNs, figures, nanoCores }: Usage): CpuUsage {
  return {
    timestamp: timeNs.toString(),
    usageCoreNanoSeconds: fromFigure(figures.cpuUsageNs),
    usageNanoCores: fromFigure(nanoCores),
    psi: fromPressure(figures.cpuPressure),
  };
}

function fromMemory({ timeNs, figures }: Usage): MemoryUsage {
  const { memoryUsage, inactiveFile, memoryLimit } = figures;
  // As the kubelet and cAdvisor mean it: what would be left if the kernel dropped what it can drop at once.
  const workingSet = memoryUsage === undefined ? undefined : Math.max(0, memoryUsage - (inactiveFile ?? 0));
  return {
    timestamp: timeNs.toString(),
    usageBytes: fromFigure(memoryUsage),
    workingSetBytes: fromFigure(workingSet),
    availableBytes: fromFigure(left(memoryLimit, workingSet)),
    rssBytes: fromFigure(figures.anonymous),
    pageFaults: fromFigure(figures.pageFaults),
    majorPageFaults: fromFigure(figures.majorPageFaults),
    psi: fromPressure(figures.memoryPressure),
  };
}

/** Only where the kernel accounts swap. */
function fromSwap({ timeNs, figures: { swapUsage, swapLimit } }: Usage): SwapUsage | null {
  if (swapUsage === undefined) return null;
  return {
    timestamp: timeNs.toString(),
    swapUsageBytes: fromFigure(swapUsage),
    swapAvailableBytes: fromFigure(left(swapLimit, swapUsage)),
  };
}

/** Nothing but pressure is asked for: where there is none, there is nothing to say. */
function fromIo({ timeNs, figures: { ioPressure } }: Usage) {
  return ioPressure === undefined ? null : { timestamp: timeNs.toString(), psi: fromPressure(ioPressure) };
}

function fromProcesses({ timeNs, figures }: Usage) {
  return { timestamp: timeNs.toString(), processCount: fromFigure(figures.tasks) };
}

/** What CNI calls it in every pod; without it the first one counts. */
const DEFAULT_INTERFACE = "eth0";

function fromNetwork({ timeNs, interfaces }: NonNullable<SandboxStats["network"]>): NetworkUsage {
  const main = interfaces.find(({ name }) => name === DEFAULT_INTERFACE) ?? interfaces[0];
  return {
    timestamp: timeNs.toString(),
    defaultInterface: main === undefined ? null : fromInterface(main),
    interfaces: interfaces.filter((one) => one !== main).map(fromInterface),
  };
}

function fromInterface(one: NonNullable<SandboxStats["network"]>["interfaces"][number]): NetworkInterfaceUsage {
  return {
    name: one.name,
    rxBytes: { value: one.rxBytes },
    rxErrors: { value: one.rxErrors },
    txBytes: { value: one.txBytes },
    txErrors: { value: one.txErrors },
  };
}

function left(limit: number | undefined, used: number | undefined): number | undefined {
  return limit === undefined || used === undefined ? undefined : Math.max(0, limit - used);
}

/** Absent is not zero. */
function fromFigure(value: number | undefined): UInt64Value | null {
  return value === undefined ? null : { value };
}

function fromPressure(pressure: Pressure): PsiStats | null {
  if (pressure === undefined) return null;
  const { some, full } = pressure;
  return { Some: fromPressureLine(some), Full: fromPressureLine(full) };
}

function fromPressureLine({ total, avg10, avg60, avg300 }: NonNullable<Pressure>["some"]) {
  return { Total: total, Avg10: avg10, Avg60: avg60, Avg300: avg300 };
}

/** As a filter of lists, which has a state in addition. */
export function fromContainerStatsFilter(filter: ContainerStatsFilter__Output | null) {
  if (filter === null) return null;
  return { id: filter.id, podSandboxId: filter.podSandboxId, labelSelector: filter.labelSelector, state: null };
}

export function fromSandboxStatsFilter(filter: PodSandboxStatsFilter__Output | null) {
  return filter === null ? null : { id: filter.id, labelSelector: filter.labelSelector, state: null };
}

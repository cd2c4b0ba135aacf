import type { CgroupFigures, Pressure } from "../cgroup/figures.ts";
import type { InterfaceFigures } from "../cgroup/net-dev.ts";
import type { FilesystemUsage } from "../image/filesystem-usage.ts";
import type { NetworkStats, Usage } from "./stats.ts";

/** What metrics are told of: a container, or with `network` a sandbox. */
export interface MetricSubject {
  readonly usage: Usage | undefined;
  readonly startedAt: Temporal.Instant | undefined;
  readonly writableLayer: FilesystemUsage | undefined;
  readonly isContainer: boolean;
  readonly network: NetworkStats | undefined;
}

/** One value, with the labels that the metric has besides those of every metric. */
export interface MetricValue {
  readonly labels: readonly string[];
  readonly value: number;
}

/** A metric under the name that cAdvisor gave it. Its values are whole numbers: the API has no others. */
export interface MetricKind {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge";
  readonly labels: readonly string[];
  /** Told only where the kernel has pressure stall information. */
  readonly needsPressure?: true;
  readonly of: (subject: MetricSubject) => readonly MetricValue[];
}

type Of = (figures: CgroupFigures) => number | undefined;

const NS = 1e9;

function metric(type: MetricKind["type"], name: string, help: string, of: Of): MetricKind {
  return { name: `container_${name}`, help, type, labels: [], of: ({ usage }) => one(usage && of(usage.figures)) };
}

function counter(name: string, help: string, of: Of): MetricKind {
  return metric("counter", name, help, of);
}

function gauge(name: string, help: string, of: Of): MetricKind {
  return metric("gauge", name, help, of);
}

function one(value: number | undefined, ...labels: string[]): readonly MetricValue[] {
  return value === undefined ? [] : [{ labels, value: Math.floor(value) }];
}

function seconds(ns: number | undefined): number | undefined {
  return ns === undefined ? undefined : ns / NS;
}

const cpu: readonly MetricKind[] = [
  {
    ...counter("cpu_usage_seconds_total", "CPU time used, of all CPUs together, in seconds.", () => undefined),
    labels: ["cpu"],
    of: ({ usage }) => one(seconds(usage?.figures.cpuUsageNs), "total"),
  },
  counter("cpu_user_seconds_total", "CPU time used outside the kernel, in seconds.", (f) => seconds(f.cpuUserNs)),
  counter("cpu_system_seconds_total", "CPU time used inside the kernel, in seconds.", (f) => seconds(f.cpuSystemNs)),
  counter("cpu_cfs_periods_total", "Periods in which its CPU quota was in force.", (f) => f.cpuPeriods ?? 0),
  counter(
    "cpu_cfs_throttled_periods_total",
    "Periods in which it used up its CPU quota.",
    (f) => f.cpuThrottledPeriods ?? 0,
  ),
  counter("cpu_cfs_throttled_seconds_total", "Time that it was held back by its CPU quota, in seconds.", (f) =>
    seconds(f.cpuThrottledNs ?? 0),
  ),
];

const memory: readonly MetricKind[] = [
  gauge("memory_usage_bytes", "Memory in use, all caches included.", (f) => f.memoryUsage),
  gauge("memory_working_set_bytes", "Memory in use, less the caches that can be dropped at once.", (f) =>
    f.memoryUsage === undefined ? undefined : Math.max(0, f.memoryUsage - (f.inactiveFile ?? 0)),
  ),
  gauge("memory_rss", "Anonymous memory that is not swapped out.", (f) => f.anonymous),
  gauge("memory_cache", "Page cache.", (f) => f.cache),
  gauge("memory_mapped_file", "Memory of mapped files.", (f) => f.mappedFile),
  gauge("memory_swap", "Swap in use; 0 where the kernel does not account it.", (f) => f.swapUsage ?? 0),
  gauge(
    "memory_max_usage_bytes",
    "The most memory that was ever in use; 0 where the kernel does not tell.",
    (f) => f.memoryPeak ?? 0,
  ),
  counter("memory_failcnt", "How often it ran into its memory limit.", (f) => f.memoryFailures),
  {
    ...counter("memory_failures_total", "Page faults.", () => undefined),
    labels: ["failure_type", "scope"],
    of: ({ usage }) => [
      ...one(usage?.figures.pageFaults, "pgfault", "hierarchy"),
      ...one(usage?.figures.majorPageFaults, "pgmajfault", "hierarchy"),
    ],
  },
  counter("oom_events_total", "Processes killed for want of memory.", (f) => f.oomKills),
];

const specification: readonly MetricKind[] = [
  gauge("spec_cpu_period", "Length of a period of the CPU quota, in microseconds.", (f) => f.cpuPeriodUs),
  gauge("spec_cpu_shares", "Share of the CPU when others want it too.", (f) => f.cpuShares),
  gauge("spec_memory_limit_bytes", "Memory limit; 0: none.", (f) => f.memoryLimit ?? 0),
  gauge(
    "spec_memory_reservation_limit_bytes",
    "Memory that is protected from others; 0: none.",
    (f) => f.memoryReservation ?? 0,
  ),
  gauge("spec_memory_swap_limit_bytes", "Limit of swap; 0: none.", (f) => f.swapLimit ?? 0),
];

const processes: readonly MetricKind[] = [
  gauge("processes", "Processes in the container itself.", (f) => f.processes),
  gauge("threads", "Threads.", (f) => f.tasks),
  gauge("threads_max", "Limit of threads; 0: none.", (f) => f.tasksLimit ?? 0),
  {
    ...gauge("start_time_seconds", "When it was started, in seconds since 1970.", () => undefined),
    of: ({ startedAt }) => one(startedAt === undefined ? undefined : startedAt.epochMilliseconds / 1_000),
  },
  {
    ...gauge("last_seen", "When it was looked at, in seconds since 1970.", () => undefined),
    of: ({ usage }) => one(usage && Number(usage.timeNs / 1_000_000_000n)),
  },
];

function disk(
  name: string,
  help: string,
  of: (device: NonNullable<CgroupFigures["devices"]>[number]) => number,
): MetricKind {
  return {
    ...counter(`fs_${name}`, help, () => undefined),
    labels: ["device"],
    of: ({ usage }) => (usage?.figures.devices ?? []).flatMap((device) => one(of(device), device.device)),
  };
}

const disks: readonly MetricKind[] = [
  {
    ...gauge("fs_usage_bytes", "What it has written to its root; 0 until that was measured.", () => undefined),
    labels: ["device"],
    of: ({ isContainer, writableLayer }) =>
      isContainer ? one(writableLayer?.usedBytes ?? 0, writableLayer?.mountpoint ?? "") : [],
  },
  disk("reads_bytes_total", "Bytes read from a block device.", (device) => device.readBytes),
  disk("writes_bytes_total", "Bytes written to a block device.", (device) => device.writeBytes),
  disk("reads_total", "Reads from a block device.", (device) => device.reads),
  disk("writes_total", "Writes to a block device.", (device) => device.writes),
  {
    ...counter("blkio_device_usage_total", "Bytes moved to and from a block device.", () => undefined),
    labels: ["device", "major", "minor", "operation"],
    of: ({ usage }) =>
      (usage?.figures.devices ?? []).flatMap(({ device, readBytes, writeBytes }) => {
        const [major = "", minor = ""] = device.split(":");
        return [...one(readBytes, device, major, minor, "Read"), ...one(writeBytes, device, major, minor, "Write")];
      }),
  },
];

function interfaceCounter(name: string, help: string, of: (figures: InterfaceFigures) => number): MetricKind {
  return {
    ...counter(`network_${name}`, help, () => undefined),
    labels: ["interface"],
    of: ({ network }) => (network?.interfaces ?? []).flatMap((figures) => one(of(figures), figures.name)),
  };
}

const network: readonly MetricKind[] = [
  interfaceCounter("receive_bytes_total", "Bytes received.", (figures) => figures.rxBytes),
  interfaceCounter("receive_packets_total", "Packets received.", (figures) => figures.rxPackets),
  interfaceCounter("receive_errors_total", "Errors while receiving.", (figures) => figures.rxErrors),
  interfaceCounter("receive_packets_dropped_total", "Packets dropped while receiving.", (figures) => figures.rxDropped),
  interfaceCounter("transmit_bytes_total", "Bytes sent.", (figures) => figures.txBytes),
  interfaceCounter("transmit_packets_total", "Packets sent.", (figures) => figures.txPackets),
  interfaceCounter("transmit_errors_total", "Errors while sending.", (figures) => figures.txErrors),
  interfaceCounter("transmit_packets_dropped_total", "Packets dropped while sending.", (figures) => figures.txDropped),
];

function pressure(
  name: string,
  what: string,
  of: (figures: CgroupFigures) => Pressure | undefined,
): readonly MetricKind[] {
  const microseconds = (total: number | undefined) => (total === undefined ? undefined : total / 1e6);
  return [
    {
      ...counter(
        `pressure_${name}_waiting_seconds_total`,
        `Time that some tasks waited for ${what}, in seconds.`,
        (f) => microseconds(of(f)?.some.total),
      ),
      needsPressure: true,
    },
    {
      ...counter(`pressure_${name}_stalled_seconds_total`, `Time that all tasks waited for ${what}, in seconds.`, (f) =>
        microseconds(of(f)?.full.total),
      ),
      needsPressure: true,
    },
  ];
}

/** All metrics there are. A sandbox has those of its cgroup parent and the network, a container the others. */
export const metricTable: readonly MetricKind[] = [
  ...[...cpu, ...memory, ...specification, ...processes, ...disks, ...network],
  ...pressure("cpu", "a CPU", (figures) => figures.cpuPressure),
  ...pressure("memory", "memory", (figures) => figures.memoryPressure),
  ...pressure("io", "disks", (figures) => figures.ioPressure),
];

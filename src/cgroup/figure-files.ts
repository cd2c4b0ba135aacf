import { posix } from "node:path";
import { type CgroupLayout, controllerMount, unifiedMount } from "./cgroup.ts";
import {
  type CgroupFigures,
  fieldOf,
  limitOf,
  parseBlkio,
  parseIoStat,
  parseLimit,
  parseNumber,
  parsePressure,
} from "./figures.ts";

/** 1: what the statistics calls tell, at every kubelet's poll. 2: what only metrics tell. */
export type FigureLevel = 1 | 2;

interface FigureFile {
  /** "unified": the v2 hierarchy, hybrid mode included. */
  readonly controller: string;
  readonly name: string;
  readonly level: FigureLevel;
  readonly read: (text: string, into: CgroupFigures) => void;
}

const pressure: readonly FigureFile[] = [
  file("unified", "cpu.pressure", 1, (text, into) => {
    into.cpuPressure = parsePressure(text);
  }),
  file("unified", "memory.pressure", 1, (text, into) => {
    into.memoryPressure = parsePressure(text);
  }),
  file("unified", "io.pressure", 1, (text, into) => {
    into.ioPressure = parsePressure(text);
  }),
];

const version1: readonly FigureFile[] = [
  file("cpuacct", "cpuacct.usage", 1, (text, into) => {
    into.cpuUsageNs = parseNumber(text);
  }),
  file("memory", "memory.usage_in_bytes", 1, (text, into) => {
    into.memoryUsage = parseNumber(text);
  }),
  file("memory", "memory.stat", 1, readMemoryStat1),
  file("pids", "pids.current", 1, (text, into) => {
    into.tasks = parseNumber(text);
  }),
  ...pressure,
  file("cpuacct", "cpuacct.usage_user", 2, (text, into) => {
    into.cpuUserNs = parseNumber(text);
  }),
  file("cpuacct", "cpuacct.usage_sys", 2, (text, into) => {
    into.cpuSystemNs = parseNumber(text);
  }),
  file("cpu", "cpu.stat", 2, (text, into) => {
    into.cpuPeriods = fieldOf(text, "nr_periods");
    into.cpuThrottledPeriods = fieldOf(text, "nr_throttled");
    into.cpuThrottledNs = fieldOf(text, "throttled_time");
  }),
  file("cpu", "cpu.shares", 2, (text, into) => {
    into.cpuShares = parseNumber(text);
  }),
  file("cpu", "cpu.cfs_quota_us", 2, (text, into) => {
    into.cpuQuotaUs = parseNumber(text);
  }),
  file("cpu", "cpu.cfs_period_us", 2, (text, into) => {
    into.cpuPeriodUs = parseNumber(text);
  }),
  file("memory", "memory.max_usage_in_bytes", 2, (text, into) => {
    into.memoryPeak = parseNumber(text);
  }),
  file("memory", "memory.failcnt", 2, (text, into) => {
    into.memoryFailures = parseNumber(text);
  }),
  file("memory", "memory.soft_limit_in_bytes", 2, (text, into) => {
    into.memoryReservation = parseLimit(text);
  }),
  file("memory", "memory.oom_control", 2, (text, into) => {
    into.oomKills = fieldOf(text, "oom_kill");
  }),
  file("pids", "pids.max", 2, (text, into) => {
    into.tasksLimit = parseNumber(text);
  }),
  file("pids", "cgroup.procs", 2, (text, into) => {
    into.processes = text.split("\n").length - 1;
  }),
  file("blkio", "blkio.throttle.io_service_bytes_recursive", 2, (text, into) => {
    into.devices = [...parseBlkio(text)].map(([device, { read, write }]) => {
      return { device, readBytes: read, writeBytes: write, reads: 0, writes: 0 };
    });
  }),
  file("blkio", "blkio.throttle.io_serviced_recursive", 2, (text, into) => {
    const counts = parseBlkio(text);
    into.devices = into.devices?.map((one) => {
      const { read, write } = counts.get(one.device) ?? { read: 0, write: 0 };
      return { ...one, reads: read, writes: write };
    });
  }),
];

const version2: readonly FigureFile[] = [
  file("unified", "cpu.stat", 1, readCpuStat2),
  file("unified", "memory.current", 1, (text, into) => {
    into.memoryUsage = parseNumber(text);
  }),
  file("unified", "memory.max", 1, (text, into) => {
    into.memoryLimit = parseLimit(text);
  }),
  file("unified", "memory.stat", 1, readMemoryStat2),
  file("unified", "memory.swap.current", 1, (text, into) => {
    into.swapUsage = parseNumber(text);
  }),
  file("unified", "memory.swap.max", 1, (text, into) => {
    into.swapLimit = parseLimit(text);
  }),
  file("unified", "pids.current", 1, (text, into) => {
    into.tasks = parseNumber(text);
  }),
  ...pressure,
  file("unified", "cpu.weight", 2, (text, into) => {
    into.cpuShares = sharesOf(parseNumber(text));
  }),
  file("unified", "cpu.max", 2, (text, into) => {
    const [quota = "", period = ""] = text.trimEnd().split(" ");
    into.cpuQuotaUs = parseNumber(quota);
    into.cpuPeriodUs = parseNumber(period);
  }),
  file("unified", "memory.peak", 2, (text, into) => {
    into.memoryPeak = parseNumber(text);
  }),
  file("unified", "memory.events", 2, (text, into) => {
    into.memoryFailures = fieldOf(text, "max");
    into.oomKills = fieldOf(text, "oom_kill");
  }),
  file("unified", "memory.low", 2, (text, into) => {
    into.memoryReservation = parseLimit(text);
  }),
  file("unified", "pids.max", 2, (text, into) => {
    into.tasksLimit = parseNumber(text);
  }),
  file("unified", "cgroup.procs", 2, (text, into) => {
    into.processes = text.split("\n").length - 1;
  }),
  file("unified", "io.stat", 2, (text, into) => {
    into.devices = parseIoStat(text);
  }),
];

/** "total_" counts descendants too, as everything else here does. */
function readMemoryStat1(text: string, into: CgroupFigures): void {
  into.inactiveFile = fieldOf(text, "total_inactive_file");
  into.anonymous = fieldOf(text, "total_rss");
  into.cache = fieldOf(text, "total_cache");
  into.mappedFile = fieldOf(text, "total_mapped_file");
  into.pageFaults = fieldOf(text, "total_pgfault");
  into.majorPageFaults = fieldOf(text, "total_pgmajfault");
  into.swapUsage = fieldOf(text, "total_swap");
  const memory = limitOf(fieldOf(text, "hierarchical_memory_limit"));
  const both = limitOf(fieldOf(text, "hierarchical_memsw_limit"));
  into.memoryLimit = memory;
  into.swapLimit = memory === undefined || both === undefined ? undefined : Math.max(0, both - memory);
}

function readMemoryStat2(text: string, into: CgroupFigures): void {
  into.inactiveFile = fieldOf(text, "inactive_file");
  into.anonymous = fieldOf(text, "anon");
  into.cache = fieldOf(text, "file");
  into.mappedFile = fieldOf(text, "file_mapped");
  into.pageFaults = fieldOf(text, "pgfault");
  into.majorPageFaults = fieldOf(text, "pgmajfault");
}

function readCpuStat2(text: string, into: CgroupFigures): void {
  into.cpuUsageNs = thousandfold(fieldOf(text, "usage_usec"));
  into.cpuUserNs = thousandfold(fieldOf(text, "user_usec"));
  into.cpuSystemNs = thousandfold(fieldOf(text, "system_usec"));
  into.cpuPeriods = fieldOf(text, "nr_periods");
  into.cpuThrottledPeriods = fieldOf(text, "nr_throttled");
  into.cpuThrottledNs = thousandfold(fieldOf(text, "throttled_usec"));
}

function thousandfold(value: number | undefined): number | undefined {
  return value === undefined ? undefined : value * 1_000;
}

/** The shares of v1 that OCI runtimes turn into this weight. */
function sharesOf(weight: number | undefined): number | undefined {
  return weight === undefined || weight < 1 ? undefined : Math.round(2 + ((weight - 1) * 262_142) / 9_999);
}

function file(controller: string, name: string, level: FigureLevel, read: FigureFile["read"]): FigureFile {
  return { controller, name, level, read };
}

/** Which files tell a cgroup's figures on a host, and what their texts say. */
export class FigureFiles {
  readonly #mounts: readonly string[];
  readonly #files: readonly (FigureFile & { readonly directory: number })[];

  constructor(layout: CgroupLayout) {
    const mountOf = (controller: string) =>
      controller === "unified" ? unifiedMount(layout) : controllerMount(layout, controller);
    const table = layout.mode === "v2" ? version2 : version1;
    const mounted = table.flatMap((one) => {
      const mount = mountOf(one.controller);
      return mount === undefined ? [] : [{ ...one, mount }];
    });
    this.#mounts = [...new Set(mounted.map(({ mount }) => mount))];
    this.#files = mounted.map(({ mount, ...one }) => ({ ...one, directory: this.#mounts.indexOf(mount) }));
  }

  /** The directories and files of a cgroup, given by its path below each mount. Those of level 1 are worth keeping open. */
  of(path: string): {
    readonly directories: readonly string[];
    readonly files: readonly {
      readonly level: FigureLevel;
      readonly keep: boolean;
      readonly directory: number;
      readonly name: string;
    }[];
  } {
    return {
      directories: this.#mounts.map((mount) => posix.join(mount, path)),
      files: this.#files.map(({ level, directory, name }) => ({ level, keep: level === 1, directory, name })),
    };
  }

  /** How many texts a level has. */
  count(level: FigureLevel): number {
    return this.#files.reduce((sum, one) => sum + (one.level <= level ? 1 : 0), 0);
  }

  /** What the texts of a level say, in the order of `of`; never throws. Undefined when no file of the cgroup is there. */
  parse(level: FigureLevel, texts: readonly (string | undefined)[]): CgroupFigures | undefined {
    const figures: CgroupFigures = {};
    let at = 0;
    let isThere = false;
    for (const one of this.#files) {
      if (one.level > level) continue;
      const text = texts[at++];
      if (text === undefined) continue;
      isThere = true;
      one.read(text, figures);
    }
    return isThere ? figures : undefined;
  }
}

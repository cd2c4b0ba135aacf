import type { Resources } from "./config.ts";

/** Nothing is asked for. */
export const NO_RESOURCES: Resources = {
  cpuPeriod: 0,
  cpuQuota: 0,
  cpuShares: 0,
  memoryLimitBytes: 0,
  memorySwapLimitBytes: 0,
  oomScoreAdj: 0,
  cpusetCpus: "",
  cpusetMems: "",
  hugepageLimits: [],
  unified: {},
};

/**
 * What is in force after an update. A field that the update leaves at 0 or empty stays as it was, a huge page size or a
 * unified file that it does not name as well. A new memory limit keeps the room for swap that there was beside the old one.
 */
export function mergeResources(current: Resources | undefined, asked: Resources): Resources {
  if (current === undefined) return asked;
  return {
    cpuPeriod: asked.cpuPeriod || current.cpuPeriod,
    cpuQuota: asked.cpuQuota || current.cpuQuota,
    cpuShares: asked.cpuShares || current.cpuShares,
    memoryLimitBytes: asked.memoryLimitBytes || current.memoryLimitBytes,
    memorySwapLimitBytes: asked.memorySwapLimitBytes || keptSwap(current, asked.memoryLimitBytes),
    oomScoreAdj: asked.oomScoreAdj || current.oomScoreAdj,
    cpusetCpus: asked.cpusetCpus || current.cpusetCpus,
    cpusetMems: asked.cpusetMems || current.cpusetMems,
    hugepageLimits: mergeHugepages(current.hugepageLimits, asked.hugepageLimits),
    unified: { ...current.unified, ...asked.unified },
  };
}

/** The limit is memory and swap together: it moves with the memory limit, or a raised one would be above it. */
function keptSwap({ memoryLimitBytes: memory, memorySwapLimitBytes: swap }: Resources, newMemory: number): number {
  if (swap <= 0 || newMemory === 0) return swap;
  return newMemory < 0 ? -1 : newMemory + (swap - memory);
}

type HugepageLimits = Resources["hugepageLimits"];

function mergeHugepages(current: HugepageLimits, asked: HugepageLimits): HugepageLimits {
  const limits = new Map([...current, ...asked].map(({ pageSize, limit }) => [pageSize, limit]));
  return [...limits].map(([pageSize, limit]) => ({ pageSize, limit }));
}

/** What the kernel has where nothing was ever set. */
const DEFAULTS = { cpuPeriod: 100_000, cpuQuota: -1, cpuShares: 1024, memoryLimitBytes: -1, memorySwapLimitBytes: -1 };

/**
 * The resources that end an update to `intended`: those of before, with the kernel's defaults said out loud where there
 * was nothing before. CPU sets, huge pages and unified files have no such default, so one that is new stays.
 */
export function takenBack(before: Resources | undefined, intended: Resources): Resources {
  const set = (field: keyof typeof DEFAULTS) => {
    const old = before?.[field] ?? 0;
    return old === 0 && intended[field] !== 0 ? DEFAULTS[field] : old;
  };
  return {
    ...mergeResources(intended, before ?? intended),
    cpuPeriod: set("cpuPeriod"),
    cpuQuota: set("cpuQuota"),
    cpuShares: set("cpuShares"),
    memoryLimitBytes: set("memoryLimitBytes"),
    memorySwapLimitBytes: set("memorySwapLimitBytes"),
    oomScoreAdj: before?.oomScoreAdj ?? 0,
  };
}

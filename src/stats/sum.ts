import type { CgroupFigures } from "../cgroup/figures.ts";
import type { Usage } from "./stats.ts";

/** What several cgroups use together: for a sandbox whose cgroup parent is not its own. Undefined when there are none. */
export function sumOf(usages: readonly Usage[]): Usage | undefined {
  const [first] = usages;
  if (first === undefined) return undefined;
  const figures: CgroupFigures = {};
  for (const key of summed) figures[key] = total(usages.map((usage) => usage.figures[key]));
  return { timeNs: first.timeNs, figures, nanoCores: total(usages.map(({ nanoCores }) => nanoCores)) };
}

/** Limits and pressure are not what can be added up. */
const summed = [
  ...(["cpuUsageNs", "cpuUserNs", "cpuSystemNs"] as const),
  ...(["memoryUsage", "inactiveFile", "anonymous", "cache", "mappedFile"] as const),
  ...(["pageFaults", "majorPageFaults", "swapUsage", "oomKills", "tasks", "processes"] as const),
] satisfies readonly (keyof CgroupFigures)[];

function total(values: readonly (number | undefined)[]): number | undefined {
  return values.reduce((sum, value) => (value === undefined ? sum : (sum ?? 0) + value), undefined);
}

import { invalidArgument } from "../../lib/errors.ts";
import type { Resources } from "../config.ts";
import type { HostFacts, Section } from "./input.ts";
import type { OciCpu, OciDeviceRule, OciMemory, OciResources } from "./types.ts";

const MAX_SHARES = 262_144;

/** The limits of a container's cgroup. What the host cannot do is left out with a notice when it limits nothing, and refused when it would. */
export function buildResources(
  asked: Resources | undefined,
  devices: readonly OciDeviceRule[],
  pidsLimit: number,
  host: HostFacts,
): Section<OciResources> {
  const pids = buildPids(pidsLimit, host);
  const start: OciResources = { devices, ...pids.value };
  if (asked === undefined) return { value: start, notices: pids.notices };
  const memory = buildMemory(asked, host);
  const huge = buildHugepages(asked, host);
  const unified = buildUnified(asked, host);
  const cpu = buildCpu(asked);
  const value: OciResources = {
    ...start,
    ...(Object.keys(cpu).length === 0 ? {} : { cpu }),
    ...(Object.keys(memory.value).length === 0 ? {} : { memory: memory.value }),
    ...(huge.value.length === 0 ? {} : { hugepageLimits: huge.value }),
    ...(Object.keys(unified.value).length === 0 ? {} : { unified: unified.value }),
  };
  return { value, notices: [...pids.notices, ...memory.notices, ...huge.notices, ...unified.notices] };
}

/** 0 and -1 say "no limit", and are left out: crun 1.8 takes either for a number. */
function buildPids(limit: number, host: HostFacts): Section<Pick<OciResources, "pids">> {
  if (limit <= 0) return { value: {}, notices: [] };
  if (host.pidsController) return { value: { pids: { limit } }, notices: [] };
  return { value: {}, notices: ["the limit of processes is not applied: no pids controller is mounted"] };
}

function buildCpu(asked: Resources): OciCpu {
  const { cpuShares, cpuQuota, cpuPeriod } = asked;
  if (cpuShares < 0 || cpuShares > MAX_SHARES) throw outOfRange("cpu_shares", cpuShares, `0 to ${MAX_SHARES}`);
  if (cpuPeriod !== 0 && (cpuPeriod < 1000 || cpuPeriod > 1_000_000)) {
    throw outOfRange("cpu_period", cpuPeriod, "1000 to 1000000 microseconds");
  }
  if (cpuQuota > 0 && cpuQuota < 1000) throw outOfRange("cpu_quota", cpuQuota, "at least 1000 microseconds");
  return {
    // The kernel raises 1 to 2; runtimes that convert to a weight do not.
    ...(cpuShares === 0 ? {} : { shares: Math.max(cpuShares, 2) }),
    ...(cpuQuota === 0 ? {} : { quota: Math.max(cpuQuota, -1) }),
    ...(cpuPeriod === 0 ? {} : { period: cpuPeriod }),
    ...(asked.cpusetCpus === "" ? {} : { cpus: cpuList(asked.cpusetCpus, "cpuset_cpus") }),
    ...(asked.cpusetMems === "" ? {} : { mems: cpuList(asked.cpusetMems, "cpuset_mems") }),
  };
}

function cpuList(text: string, field: string): string {
  if (text.length <= 4096 && /^\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*$/.test(text)) return text;
  throw invalidArgument(`resources.${field} ${JSON.stringify(text.slice(0, 80))} is not a list like 0-3,7`);
}

/** A limit of memory is one of swap too unless the request says otherwise: a container may not evade its limit into swap. */
function buildMemory(asked: Resources, host: HostFacts): Section<OciMemory> {
  const { memoryLimitBytes: limit, memorySwapLimitBytes: swap } = asked;
  if (limit < -1) throw outOfRange("memory_limit_in_bytes", limit, "-1 (none), 0 (not given) or a number of bytes");
  if (swap < -1) throw outOfRange("memory_swap_limit_in_bytes", swap, "-1 (none), 0 (not given) or a number of bytes");
  if (swap > 0 && limit > 0 && swap < limit) {
    const meaning = "it is memory and swap together";
    throw invalidArgument(
      `resources.memory_swap_limit_in_bytes ${swap} is below the memory limit ${limit}: ${meaning}`,
    );
  }
  if (swap > 0 && limit <= 0) {
    throw invalidArgument("resources.memory_swap_limit_in_bytes needs memory_limit_in_bytes too");
  }
  const memory = limit === 0 ? {} : { limit };
  if (host.swapAccounting) return { value: { ...memory, ...withSwap(limit, swap) }, notices: [] };
  const lost = swap > 0 ? ["the limit of swap is not applied: the kernel does not account for swap"] : [];
  return { value: memory, notices: lost };
}

function withSwap(limit: number, swap: number): OciMemory {
  if (swap !== 0) return { swap };
  return limit === 0 ? {} : { swap: limit };
}

/** A kubelet sends a limit of 0 for every size the host has, also where no controller is mounted to enforce it. */
function buildHugepages(asked: Resources, host: HostFacts): Section<NonNullable<OciResources["hugepageLimits"]>> {
  const value: { pageSize: string; limit: number }[] = [];
  const notices: string[] = [];
  for (const { pageSize, limit } of asked.hugepageLimits) {
    if (!/^[1-9]\d{0,5}[KMGTP]B$/.test(pageSize)) {
      throw invalidArgument(
        `resources.hugepage_limits: ${JSON.stringify(pageSize.slice(0, 40))} is not a size like 2MB`,
      );
    }
    if (limit < 0) throw outOfRange(`hugepage_limits[${pageSize}]`, limit, "a number of bytes");
    if (host.hugepageSizes.includes(pageSize)) value.push({ pageSize, limit });
    else if (limit === 0)
      notices.push(`the limit 0 of ${pageSize} pages is not applied: no hugetlb controller has them`);
    else throw invalidArgument(`resources.hugepage_limits: this host has no hugetlb controller for ${pageSize} pages`);
  }
  return { value, notices };
}

function buildUnified(asked: Resources, host: HostFacts): Section<Readonly<Record<string, string>>> {
  const names = Object.keys(asked.unified);
  const bad = names.find((name) => !/^[a-z_]+(\.[A-Za-z0-9_]+)+$/.test(name));
  if (bad !== undefined) {
    throw invalidArgument(`resources.unified: ${JSON.stringify(bad.slice(0, 80))} is not the name of a cgroup file`);
  }
  // Not limits: they move, freeze and kill processes, other containers' among them.
  const core = names.find((name) => name.startsWith("cgroup."));
  if (core !== undefined)
    throw invalidArgument(`resources.unified: ${core} is not a limit, and not for a client to write`);
  if (host.cgroupMode === "v2") return { value: asked.unified, notices: [] };
  // A kubelet sets this one unasked; v1 has no such switch, and nothing is limited by it.
  const other = names.find((name) => name !== "memory.oom.group");
  if (other !== undefined)
    throw invalidArgument(`resources.unified: ${other} needs cgroup v2, this host runs ${host.cgroupMode}`);
  return { value: {}, notices: names.map((name) => `${name} is ignored: it needs cgroup v2`) };
}

function outOfRange(field: string, value: number, range: string) {
  return invalidArgument(`resources.${field} ${value} is out of range: ${range}`);
}

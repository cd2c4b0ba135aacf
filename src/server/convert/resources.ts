import type { Resources } from "../../oci/config.ts";
import type {
  LinuxContainerResources,
  LinuxContainerResources__Output,
} from "../generated/runtime/v1/LinuxContainerResources.ts";
import { integer, line, list, map, name, refuse } from "./field.ts";

const MAX = Number.MAX_SAFE_INTEGER;

/** -1 is "no limit" for the quota, memory and swap; no other limit may be negative. */
export function toResources(field: string, message: LinuxContainerResources__Output | null): Resources | undefined {
  if (message === null) return undefined;
  const at = (name: string) => `${field}.${name}`;
  return {
    cpuPeriod: integer(at("cpu_period"), message.cpuPeriod, 0, MAX),
    cpuQuota: integer(at("cpu_quota"), message.cpuQuota, -1, MAX),
    cpuShares: integer(at("cpu_shares"), message.cpuShares, 0, MAX),
    memoryLimitBytes: integer(at("memory_limit_in_bytes"), message.memoryLimitInBytes, -1, MAX),
    memorySwapLimitBytes: integer(at("memory_swap_limit_in_bytes"), message.memorySwapLimitInBytes, -1, MAX),
    oomScoreAdj: integer(at("oom_score_adj"), message.oomScoreAdj, -1000, 1000),
    cpusetCpus: toCpuList(at("cpuset_cpus"), message.cpusetCpus),
    cpusetMems: toCpuList(at("cpuset_mems"), message.cpusetMems),
    hugepageLimits: list(at("hugepage_limits"), message.hugepageLimits, (item, { pageSize, limit }) => ({
      pageSize: toPageSize(`${item}.page_size`, pageSize),
      limit: integer(`${item}.limit`, limit, 0, MAX),
    })),
    unified: toUnified(at("unified"), message.unified),
  };
}

export function fromResources(resources: Resources): LinuxContainerResources {
  return {
    cpuPeriod: resources.cpuPeriod,
    cpuQuota: resources.cpuQuota,
    cpuShares: resources.cpuShares,
    memoryLimitInBytes: resources.memoryLimitBytes,
    memorySwapLimitInBytes: resources.memorySwapLimitBytes,
    oomScoreAdj: resources.oomScoreAdj,
    cpusetCpus: resources.cpusetCpus,
    cpusetMems: resources.cpusetMems,
    hugepageLimits: resources.hugepageLimits.map(({ pageSize, limit }) => ({ pageSize, limit })),
    unified: resources.unified,
  };
}

function toCpuList(field: string, value: string): string {
  if (/^[0-9,-]*$/.test(line(field, value, 64 * 1024))) return value;
  throw refuse(field, 'must be a list such as "0-2,7"');
}

function toPageSize(field: string, value: string): string {
  if (/^[0-9]{1,12}[KMG]?B$/.test(value)) return value;
  throw refuse(field, 'must be a size such as "2MB"');
}

/** File names of one cgroup: a path would write outside of it. */
function toUnified(field: string, entries: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  for (const [key, value] of Object.entries(map(field, entries))) {
    if (name(field, key).includes("/")) throw refuse(field, `has the key ${JSON.stringify(key)}, which is a path`);
    if (value.includes("\0")) throw refuse(field, "contains a NUL byte");
  }
  return map(field, entries);
}

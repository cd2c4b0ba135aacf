import { posix } from "node:path";
import type { Operation } from "../launcher/operations.ts";
import { type CgroupLayout, controllerMount, unifiedMount } from "./cgroup.ts";

/** Microseconds; 0: not set, which is the kernel's default. A quota of -1 is none. */
export interface CpuBandwidth {
  readonly cpuQuota: number;
  readonly cpuPeriod: number;
}

/** Limits that runtimes forget when they update a container. */
export interface FileLimits {
  readonly hugepageLimits: readonly { readonly pageSize: string; readonly limit: number }[];
  /** By the name of the file; cgroup v2 alone. */
  readonly unified: Readonly<Record<string, string>>;
}

/** Limits as the OCI has them: bytes, of which `swap` counts memory and swap together; microseconds; below 0 is none. */
export interface ScopeLimits {
  readonly memory?: { readonly limit?: number; readonly swap?: number };
  readonly cpu?: {
    readonly quota?: number;
    readonly period?: number;
    readonly cpus?: string;
    readonly mems?: string;
  };
}

const DEFAULT_PERIOD = 100_000;

/**
 * Changes the CPU bandwidth of the cgroup at `path` on v1, where it is two files and the kernel refuses a value that in
 * between is more than the parent has: a longer period is written first, a shorter one last. crun 1.8 always writes the
 * period first, and no quota as a number that is out of range. Nothing on v2, where it is one file.
 */
export function bandwidthWrites(
  layout: CgroupLayout,
  path: string,
  from: CpuBandwidth,
  to: CpuBandwidth,
): readonly Operation[] {
  const mountPoint = controllerMount(layout, "cpu");
  if (layout.mode === "v2" || mountPoint === undefined) return [];
  const file = (name: string, value: number) =>
    value === 0 ? [] : [write(posix.join(mountPoint, path, name), String(value))];
  const period = file("cpu.cfs_period_us", to.cpuPeriod);
  const quota = file("cpu.cfs_quota_us", to.cpuQuota);
  const grows = (to.cpuPeriod || DEFAULT_PERIOD) >= (from.cpuPeriod || DEFAULT_PERIOD);
  return grows ? [...period, ...quota] : [...quota, ...period];
}

/** To be written after the runtime has updated the container: runc 1.1 writes the huge page limits that it was made with. */
export function limitWrites(layout: CgroupLayout, path: string, limits: FileLimits): readonly Operation[] {
  return [...hugepageWrites(layout, path, limits.hugepageLimits), ...unifiedWrites(layout, path, limits.unified)];
}

/**
 * What a scope's files say in the end; v2 alone. systemd writes all that it manages a moment after it was told of one limit,
 * and has rounded the quota. The CPU weight is not written: every runtime tells systemd of that.
 */
export function scopeWrites(layout: CgroupLayout, path: string, { memory = {}, cpu = {} }: ScopeLimits) {
  const mountPoint = unifiedMount(layout);
  if (layout.mode !== "v2" || mountPoint === undefined) return [];
  const { limit, swap } = memory;
  const files: readonly (readonly [name: string, value: string | undefined])[] = [
    ["memory.max", limit === undefined ? undefined : orMax(limit)],
    ["memory.swap.max", swap === undefined ? undefined : orMax(swap < 0 ? swap : swap - (limit ?? 0))],
    ["cpu.max", cpu.quota === undefined ? undefined : [orMax(cpu.quota), cpu.period ?? ""].join(" ").trim()],
    ["cpuset.cpus", cpu.cpus],
    ["cpuset.mems", cpu.mems],
  ];
  return files.flatMap(([name, value]) =>
    value === undefined ? [] : [write(posix.join(mountPoint, path, name), value)],
  );
}

function orMax(limit: number): string {
  return limit < 0 ? "max" : String(limit);
}

function hugepageWrites(
  layout: CgroupLayout,
  path: string,
  limits: FileLimits["hugepageLimits"],
): readonly Operation[] {
  const mountPoint = controllerMount(layout, "hugetlb");
  if (mountPoint === undefined) return [];
  const suffix = layout.mode === "v2" ? "max" : "limit_in_bytes";
  return limits.map(({ pageSize, limit }) =>
    write(posix.join(mountPoint, path, `hugetlb.${pageSize}.${suffix}`), String(limit)),
  );
}

function unifiedWrites(layout: CgroupLayout, path: string, unified: FileLimits["unified"]): readonly Operation[] {
  const mountPoint = unifiedMount(layout);
  if (layout.mode !== "v2" || mountPoint === undefined) return [];
  return Object.entries(unified).map(([name, value]) => write(posix.join(mountPoint, path, name), value));
}

function write(path: string, value: string): Operation {
  return { op: "writeKernelFile", path, data: Buffer.from(value) };
}

import type { OciCpu, OciResources } from "./types.ts";

type Limits = Omit<OciResources, "devices">;

/** A property of systemd's whose value is a number; `undefined` is no limit. */
interface Property {
  readonly name: string;
  readonly value: bigint | undefined;
}

/** Limits of CPU and tasks; -1 is none. */
interface CpuAndTasks extends OciCpu {
  readonly weight?: number;
  readonly tasks?: number;
}

const NONE = 2n ** 64n - 1n;
/** Unified files that systemd has a property for, and so writes whenever it writes anything. */
const NAMES = {
  "memory.min": "MemoryMin",
  "memory.low": "MemoryLow",
  "memory.high": "MemoryHigh",
  "memory.max": "MemoryMax",
  "memory.swap.max": "MemorySwapMax",
} as const satisfies Readonly<Record<string, string>>;

/**
 * What a runtime is told of a scope by annotations; nothing where `cgroupsPath` is a path. Processes are in the scope itself,
 * whichever the runtime: crun would make a cgroup in it. A scope in which something was killed for memory is forgotten as
 * any other. The limits are there because crun before 1.8.5 tells systemd of the CPU weight alone, and systemd, which
 * writes all limits that it manages whenever it is reloaded, would take the others back. Without a limit of tasks it is told
 * that there is none, which otherwise is 15 % of what the machine has. A CPU set is bytes, and crun takes no such property.
 */
export function scopeAnnotations(cgroupsPath: string, limits: Limits = {}): Readonly<Record<string, string>> {
  if (cgroupsPath.startsWith("/")) return {};
  const { tasks = -1, weight, quota = 0, period = 100_000 } = cpuAndTasks(limits);
  const properties: readonly Property[] = [
    { name: "TasksMax", value: tasks < 0 ? undefined : BigInt(tasks) },
    ...memoryProperties(limits),
    ...(weight === undefined ? [] : [{ name: "CPUWeight", value: BigInt(weight) }]),
    ...(quota <= 0 ? [] : cpuProperties(quota, period)),
  ];
  return {
    "run.oci.systemd.subgroup": "",
    "org.systemd.property.CollectMode": "'inactive-or-failed'",
    ...Object.fromEntries(
      properties.map(({ name, value = NONE }) => [`org.systemd.property.${name}`, `uint64 ${value}`]),
    ),
  };
}

/** The arguments by which `systemctl` tells systemd of a scope's new limits, for a runtime that may not have. */
export function setPropertyArgs(scope: string, limits: Limits): readonly string[] {
  const { tasks, weight, quota, period, cpus, mems } = cpuAndTasks(limits);
  const texts = [
    ...memoryProperties(limits).map(({ name, value }) => `${name}=${value ?? "infinity"}`),
    ...(tasks === undefined ? [] : [`TasksMax=${tasks < 0 ? "infinity" : tasks}`]),
    ...(weight === undefined ? [] : [`CPUWeight=${weight}`]),
    ...(quota === undefined ? [] : [`CPUQuota=${quota < 0 ? "" : percent(quota, period ?? 100_000)}`]),
    ...(period === undefined ? [] : [`CPUQuotaPeriodSec=${period}us`]),
    ...(cpus === undefined ? [] : [`AllowedCPUs=${cpus}`]),
    ...(mems === undefined ? [] : [`AllowedMemoryNodes=${mems}`]),
  ];
  return texts.length === 0 ? [] : ["set-property", "--runtime", scope, ...texts];
}

/** Runtimes write unified files last, so those count. What systemd would refuse is left out: the kernel's word on it is clearer. */
function cpuAndTasks({ cpu = {}, pids, unified = {} }: Limits): CpuAndTasks {
  const read = (file: string, form: RegExp) => form.exec(unified[file]?.trim() ?? "");
  const tasks = read("pids.max", /^(?:max|[1-9]\d{0,9})$/)?.[0];
  const weight = read("cpu.weight", /^[1-9]\d{0,3}$|^10000$/)?.[0];
  const [, quota, period] = read("cpu.max", /^(max|[1-9]\d{0,11})(?:\s+([1-9]\d{0,6}))?$/) ?? [];
  const cpus = read("cpuset.cpus", /^[\d,-]+$/)?.[0];
  const mems = read("cpuset.mems", /^[\d,-]+$/)?.[0];
  return {
    ...cpu,
    ...(pids === undefined ? {} : { tasks: pids.limit }),
    ...(tasks === undefined ? {} : { tasks: numberOrNone(tasks) }),
    ...(weight === undefined ? {} : { weight: Number(weight) }),
    ...(quota === undefined ? {} : { quota: numberOrNone(quota) }),
    ...(period === undefined ? {} : { period: Number(period) }),
    ...(cpus === undefined ? {} : { cpus }),
    ...(mems === undefined ? {} : { mems }),
  };
}

function numberOrNone(text: string): number {
  return text === "max" ? -1 : Number(text);
}

function memoryProperties({ memory = {}, unified = {} }: Limits): readonly Property[] {
  const { limit, swap } = memory;
  const found = new Map<string, number | undefined>();
  if (limit !== undefined) found.set("MemoryMax", limit);
  if (swap !== undefined) found.set("MemorySwapMax", swap < 0 ? swap : swap - (limit ?? 0));
  for (const [file, name] of Object.entries(NAMES)) {
    const text = unified[file]?.trim();
    if (text === "max") found.set(name, -1);
    else if (text !== undefined && /^\d{1,15}$/.test(text)) found.set(name, Number(text));
  }
  return [...found].map(([name, value = -1]) => ({ name, value: value < 0 ? undefined : BigInt(value) }));
}

function cpuProperties(quota: number, period: number): readonly Property[] {
  return [
    { name: "CPUQuotaPerSecUSec", value: BigInt(Math.ceil((quota * 1_000_000) / period)) },
    { name: "CPUQuotaPeriodUSec", value: BigInt(period) },
  ];
}

/** systemd knows hundredths: never less than was asked for. */
function percent(quota: number, period: number): string {
  return `${Math.ceil((quota * 10_000) / period) / 100}%`;
}

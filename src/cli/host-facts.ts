import { readdir, readFile, stat } from "node:fs/promises";
import { release } from "node:os";
import { join } from "node:path";
import { type CgroupLayout, controllerMount } from "../cgroup/cgroup.ts";
import { capabilitiesFromMask } from "../oci/spec/capabilities.ts";
import type { HostFacts } from "../oci/spec/input.ts";

/** What this host can do, read once at start-up. */
export async function readHostFacts(layout: CgroupLayout): Promise<HostFacts> {
  const [status, limits, oomScoreAdj] = await Promise.all([
    readFile("/proc/self/status", "utf8"),
    readFile("/proc/self/limits", "utf8"),
    readFile("/proc/self/oom_score_adj", "utf8"),
  ]);
  const capabilities = heldCapabilities(status);
  const mayRaise = capabilities.has("CAP_SYS_RESOURCE");
  const [major = 0, minor = 0] = release().split(/[.-]/).map(Number);
  return {
    arch: process.arch === "arm64" ? "arm64" : "x64",
    cgroupMode: layout.mode,
    capabilities,
    minOomScoreAdj: mayRaise ? -1000 : Number(oomScoreAdj),
    rlimitCeilings: mayRaise ? {} : hardLimits(limits),
    seccomp: /^Seccomp:/m.test(status),
    selinux: await exists("/sys/fs/selinux/enforce"),
    hugepageSizes: await hugepageSizes(layout),
    swapAccounting: await hasSwapAccounting(layout),
    pidsController: controllerMount(layout, "pids") !== undefined,
    kernel: [major, minor],
  };
}

/** Names of the capabilities that this process holds, from the text of /proc/self/status. */
export function heldCapabilities(status: string): ReadonlySet<string> {
  return capabilitiesFromMask(/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0");
}

const limitNames: Readonly<Record<string, string>> = {
  "Max open files": "RLIMIT_NOFILE",
  "Max processes": "RLIMIT_NPROC",
  "Max core file size": "RLIMIT_CORE",
  "Max locked memory": "RLIMIT_MEMLOCK",
  "Max stack size": "RLIMIT_STACK",
};

/** Hard limits from the text of /proc/self/limits; unlimited ones are left out. */
export function hardLimits(text: string): Readonly<Record<string, number>> {
  const found: Record<string, number> = {};
  for (const line of text.split("\n")) {
    const [, label = "", , hard = ""] = /^(.{25}) (\S+) +(\S+)/.exec(line) ?? [];
    const name = limitNames[label.trim()];
    if (name !== undefined && hard !== "unlimited") found[name] = Number(hard);
  }
  return found;
}

async function hugepageSizes(layout: CgroupLayout): Promise<readonly string[]> {
  if (layout.mode !== "v2" && controllerMount(layout, "hugetlb") === undefined) return [];
  const names = await readdir("/sys/kernel/mm/hugepages").catch(() => []);
  return names.map((name) => formatSize(Number(/^hugepages-(\d+)kB$/.exec(name)?.[1] ?? 0)));
}

function formatSize(kilobytes: number): string {
  if (kilobytes >= 1 << 20) return `${kilobytes / (1 << 20)}GB`;
  return kilobytes >= 1024 ? `${kilobytes / 1024}MB` : `${kilobytes}KB`;
}

async function hasSwapAccounting(layout: CgroupLayout): Promise<boolean> {
  // v2 accounts swap wherever the kernel can swap at all.
  if (layout.mode === "v2") return exists("/proc/swaps");
  const memory = controllerMount(layout, "memory");
  return memory !== undefined && exists(join(memory, "memory.memsw.limit_in_bytes"));
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { type CgroupLayout, controllerMount, unifiedMount } from "../cgroup/cgroup.ts";
import { hostFacts } from "../oci/host-facts.ts";
import type { HostFacts } from "../oci/spec/input.ts";

/** What this host can do, read once at start-up. */
export async function readHostFacts(layout: CgroupLayout): Promise<HostFacts> {
  const read = (path: string) => readFile(path, "utf8").catch(() => "");
  const [status, limits, oomScoreAdj, osrelease, filesystems, apparmor, hugepages, controllers, swapAccounting] =
    await Promise.all([
      read("/proc/self/status"),
      read("/proc/self/limits"),
      read("/proc/self/oom_score_adj"),
      read("/proc/sys/kernel/osrelease"),
      read("/proc/filesystems"),
      read("/sys/module/apparmor/parameters/enabled"),
      readdir("/sys/kernel/mm/hugepages").catch(() => []),
      mountedControllers(layout),
      hasSwapAccounting(layout),
    ]);
  return hostFacts({
    ...{
      arch: process.arch,
      status,
      limits,
      oomScoreAdj,
      osrelease,
      filesystems,
      apparmor,
      hugepages,
      controllers,
      swapAccounting,
    },
    cgroupMode: layout.mode,
  });
}

async function mountedControllers(layout: CgroupLayout): Promise<ReadonlySet<string>> {
  if (layout.mode !== "v2") return new Set(layout.hierarchies.flatMap(({ controllers }) => controllers));
  const text = await readFile(join(unifiedMount(layout) ?? "", "cgroup.controllers"), "utf8").catch(() => "");
  return new Set(text.trim().split(" "));
}

async function hasSwapAccounting(layout: CgroupLayout): Promise<boolean> {
  // v2 accounts swap wherever the kernel can swap at all.
  const path =
    layout.mode === "v2"
      ? "/proc/swaps"
      : join(controllerMount(layout, "memory") ?? "/none", "memory.memsw.limit_in_bytes");
  return stat(path).then(
    () => true,
    () => false,
  );
}

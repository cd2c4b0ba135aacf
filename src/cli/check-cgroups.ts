import { type CgroupLayout, controllerMount } from "../cgroup/cgroup.ts";
import type { Config } from "../config/schema.ts";
import { chooseDriver, type SystemdFacts } from "./cgroup-driver.ts";
import { type CheckLine, fail, ok, warn } from "./check-line.ts";

/** What is known of cgroups besides where they are mounted. */
export interface CgroupTexts {
  readonly layout: CgroupLayout;
  /** Mounted (v1) or offered (v2). */
  readonly controllers: ReadonlySet<string>;
  /** Text of /proc/cgroups: what the kernel has. */
  readonly procCgroups: string;
  /** Mount points that cannot be written to. */
  readonly readOnly: readonly string[];
  readonly driver: Config["cgroupDriver"];
  readonly systemd: SystemdFacts;
  /** Names of the runtime handlers that were found. */
  readonly handlers: readonly string[];
}

/** Hierarchies, controllers and the driver. Pure. */
export function checkCgroups(texts: CgroupTexts): readonly CheckLine[] {
  const { layout, readOnly } = texts;
  if (layout.hierarchies.length === 0) {
    return [fail("cgroups", "no hierarchy is mounted", "mount -t cgroup2 cgroup2 /sys/fs/cgroup")];
  }
  const lines = [...controllerLines(texts), ...hugetlbLines(texts)];
  if (readOnly.length > 0) {
    lines.push(
      fail("cgroups", `not writable: ${readOnly.join(", ")}`, "mount them read-write, or give nacelle its own"),
    );
  }
  return [...lines, ...driverLines(texts)];
}

function driverLines({ layout, driver, systemd }: CgroupTexts): CheckLine[] {
  const what = "cgroup driver";
  if (driver === "systemd" && !systemd.isSystemd) {
    return [fail(what, "systemd is configured, and is not process 1", "set cgroupDriver: cgroupfs")];
  }
  const chosen = chooseDriver(driver, layout.mode, systemd);
  const found = `${chosen.driver}: ${chosen.reason}`;
  if (chosen.problem !== "") return [fail(what, found, chosen.problem)];
  return [ok(what, found)];
}

function controllerLines({ layout, controllers }: CgroupTexts): CheckLine[] {
  const needed = layout.mode === "v2" ? ["cpu", "memory"] : ["cpu", "memory", "devices", "freezer"];
  const lacking = (names: readonly string[]) => names.filter((name) => !controllers.has(name));
  const [missing, wished] = [lacking(needed), lacking(["cpuset", "pids"])];
  const mounting =
    layout.mode === "v2" ? "enable them in the kernel" : `mount them: mount -t cgroup -o ${missing[0] ?? wished[0]} …`;
  if (missing.length > 0) return [fail("cgroups", `${layout.mode} without ${missing.join(", ")}`, mounting)];
  if (wished.length > 0)
    return [warn("cgroups", `${layout.mode} without ${wished.join(", ")}: such limits fail`, mounting)];
  return [ok("cgroups", `${layout.mode}: ${[...controllers].filter((name) => !name.includes("=")).join(", ")}`)];
}

/** crun before 1.9 refuses to start a container that has huge page limits, as a kubelet's have, without the directory. */
function hugetlbLines({ layout, procCgroups, handlers }: CgroupTexts): CheckLine[] {
  const inKernel = /^hugetlb\t/m.test(procCgroups);
  if (layout.mode === "v2" || !inKernel || controllerMount(layout, "hugetlb") !== undefined) return [];
  if (!handlers.includes("crun")) return [];
  const remedy =
    "mkdir -p /sys/fs/cgroup/hugetlb && mount -t cgroup -o hugetlb cgroup /sys/fs/cgroup/hugetlb (it changes no other)";
  return [warn("cgroups", "v1 hugetlb is not mounted: crun 1.8 then refuses a kubelet's containers", remedy)];
}

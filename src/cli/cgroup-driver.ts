import { readFile, stat } from "node:fs/promises";
import type { CgroupDriver, CgroupMode } from "../cgroup/cgroup.ts";
import type { Config } from "../config/schema.ts";
import { invalidArgument } from "../lib/errors.ts";

/** Which driver new sandboxes have, and why. */
export interface DriverChoice {
  readonly driver: CgroupDriver;
  readonly reason: string;
}

/**
 * The driver that is configured; with "auto" systemd where it owns the one hierarchy there is. On v1 and hybrid hosts it owns
 * only some of them, and runtimes make the others all the same. Throws `invalidArgument` for systemd where there is none.
 */
export function chooseDriver(configured: Config["cgroupDriver"], mode: CgroupMode, isSystemd: boolean): DriverChoice {
  if (configured === "systemd" && !isSystemd) {
    throw invalidArgument("cgroupDriver: systemd is not process 1 here: set cgroupfs, or auto", {
      key: "cgroupDriver",
    });
  }
  if (configured !== "auto") return { driver: configured, reason: "it is configured" };
  if (!isSystemd) return { driver: "cgroupfs", reason: "process 1 is not systemd" };
  if (mode !== "v2") return { driver: "cgroupfs", reason: `systemd is process 1, and cgroups are ${mode}` };
  return { driver: "systemd", reason: "systemd is process 1, and cgroups are v2" };
}

/**
 * Whether systemd is the init of this PID namespace. That it has booted the machine does not suffice: a runtime in a
 * namespace below tells it pids that are others there.
 */
export async function isSystemdInit(): Promise<boolean> {
  const booted = await stat("/run/systemd/system").then(
    (entry) => entry.isDirectory(),
    () => false,
  );
  const name = await readFile("/proc/1/comm", "utf8").catch(() => "");
  return booted && name.trim() === "systemd";
}

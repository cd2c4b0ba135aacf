import { readFile, stat } from "node:fs/promises";
import type { CgroupDriver, CgroupMode } from "../cgroup/cgroup.ts";
import type { Config } from "../config/schema.ts";
import { invalidArgument } from "../lib/errors.ts";

const BUS = "/run/dbus/system_bus_socket";

/** Which driver new sandboxes have, and why. */
export interface DriverChoice {
  readonly driver: CgroupDriver;
  readonly reason: string;
  /** What keeps it from working, with the remedy; "" for nothing. */
  readonly problem: string;
}

/** What is known of the systemd of this host. */
export interface SystemdFacts {
  readonly isSystemd: boolean;
  /** The system's D-Bus has a socket, by which runtimes speak to systemd. */
  readonly hasBus: boolean;
}

/**
 * The driver that is configured; with "auto" systemd where it owns the one hierarchy there is and can be spoken to. On v1
 * and hybrid hosts it owns only some of them, and runtimes make the others all the same. Throws `invalidArgument` for
 * systemd where there is none.
 */
export function chooseDriver(
  configured: Config["cgroupDriver"],
  mode: CgroupMode,
  { isSystemd, hasBus }: SystemdFacts,
): DriverChoice {
  if (configured === "systemd" && !isSystemd) {
    throw invalidArgument("cgroupDriver: systemd is not process 1 here: set cgroupfs, or auto", {
      key: "cgroupDriver",
    });
  }
  const isMute = configured === "systemd" && !hasBus;
  const problem = isMute ? `no D-Bus at ${BUS}: install dbus, or set cgroupDriver: cgroupfs` : "";
  if (configured !== "auto") return { driver: configured, reason: "it is configured", problem };
  return { ...chooseByHost(mode, { isSystemd, hasBus }), problem };
}

function chooseByHost(mode: CgroupMode, { isSystemd, hasBus }: SystemdFacts): Omit<DriverChoice, "problem"> {
  if (!isSystemd) return { driver: "cgroupfs", reason: "process 1 is not systemd" };
  if (mode !== "v2") return { driver: "cgroupfs", reason: `systemd is process 1, and cgroups are ${mode}` };
  if (!hasBus) return { driver: "cgroupfs", reason: `systemd is process 1, without D-Bus at ${BUS}` };
  return { driver: "systemd", reason: "systemd is process 1, and cgroups are v2" };
}

export async function readSystemdFacts(): Promise<SystemdFacts> {
  const hasBus = await stat(BUS).then(
    () => true,
    () => false,
  );
  return { isSystemd: await isSystemdInit(), hasBus };
}

/**
 * Whether systemd is the init of this PID namespace. That it has booted the machine does not suffice: a runtime in a
 * namespace below tells it pids that are others there.
 */
async function isSystemdInit(): Promise<boolean> {
  const booted = await stat("/run/systemd/system").then(
    (entry) => entry.isDirectory(),
    () => false,
  );
  const name = await readFile("/proc/1/comm", "utf8").catch(() => "");
  return booted && name.trim() === "systemd";
}

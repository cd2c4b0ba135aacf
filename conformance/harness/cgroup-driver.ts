/** What servers under test are told to use: systemd's can only be had where systemd is process 1, as in conformance/vm. */
export const cgroupDriver: "cgroupfs" | "systemd" =
  process.env.NACELLE_CGROUP_DRIVER === "systemd" ? "systemd" : "cgroupfs";

/** A cgroup parent of this name, of the kind that goes with the driver. */
export function cgroupParent(name: string): string {
  return cgroupDriver === "systemd" ? `${name}.slice` : `/${name}`;
}

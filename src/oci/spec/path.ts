import { posix } from "node:path";
import { invalidArgument } from "../../lib/errors.ts";

/** A container's path, absolute and without ".", ".." and doubled or trailing slashes; ".." stops at the root. */
export function cleanPath(path: string): string {
  const normal = posix.normalize(`/${path}`);
  return normal.length > 1 && normal.endsWith("/") ? normal.slice(0, -1) : normal;
}

/** As `cleanPath`, for a place where something is put. Throws `invalidArgument` for the root itself, /proc, or a NUL. */
export function cleanTarget(path: string, field: string): string {
  if (path.includes("\0")) throw invalidArgument(`${field} holds a NUL character`);
  const clean = cleanPath(path);
  if (path === "" || clean === "/") {
    throw invalidArgument(`${field} ${JSON.stringify(path.slice(0, 200))} must be a path below the container's root`);
  }
  if ((clean === "/proc" || clean.startsWith("/proc/")) && !COVERABLE.has(clean)) {
    throw invalidArgument(
      `${field} ${JSON.stringify(path.slice(0, 200))} would cover what the kernel tells of processes`,
    );
  }
  return clean;
}

/**
 * Figures that a volume may stand in for (as LXCFS does). Anything else below /proc is refused, as runc does and crun does
 * not: who covers it fools every program that trusts it, the runtime's next exec among them (CVE-2019-16884).
 */
const COVERABLE: ReadonlySet<string> = new Set(
  [
    ...["cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo", "net/dev"],
    ...["sys/kernel/ns_last_pid", "sys/crypto/fips_enabled"],
  ].map((name) => `/proc/${name}`),
);

/** 0 for the root, 1 for "/a". */
export function depth(path: string): number {
  return path === "/" ? 0 : path.split("/").length - 1;
}

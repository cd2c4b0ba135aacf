import { execFile } from "node:child_process";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { promisify } from "node:util";
import { unmountBelow } from "./mounts.ts";
import type { ServerPaths } from "./server.ts";

const run = promisify(execFile);

/**
 * Does to a stopped server's node what a reboot does: its processes, cgroups, mounts, run files, links and filter rules
 * are gone, and the boot id that its state remembers is that of another boot. Disks stay, and so do leases on them.
 */
export async function simulateReboot(paths: ServerPaths): Promise<void> {
  await killStrangers();
  await unmountBelow(paths.folder);
  for (const folder of [paths.runDir, paths.netnsDir]) await empty(folder);
  await run("ip", ["link", "del", "nacelle0"]).catch(() => {}); // not there when no pod ever was
  for (const table of ["filter", "nat"]) {
    await run("iptables", ["-t", table, "-F"]);
    await run("iptables", ["-t", table, "-X"]);
  }
  // What has processes or is not a cgroup refuses.
  await run("find", [
    "/sys/fs/cgroup",
    "-depth",
    "-type",
    "d",
    "-path",
    "*nacelle*",
    "-exec",
    "rmdir",
    "{}",
    "+",
  ]).catch(() => {});
  using database = new DatabaseSync(join(paths.root, "state.db"));
  const { changes } = database.prepare("UPDATE meta SET value = ? WHERE key = 'bootId'").run(crypto.randomUUID());
  if (Number(changes) !== 1) throw new Error("the state database remembers no boot id");
}

/** Every process of this PID namespace but this one and its ancestors: monitors, and what they run. */
async function killStrangers(): Promise<void> {
  const kept = new Set<number>();
  for (let pid = process.pid; pid > 0; pid = await parentOf(pid)) kept.add(pid);
  for (const pid of (await readdir("/proc")).map(Number).filter((number) => number > 0 && !kept.has(number))) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // gone by itself
    }
  }
}

async function parentOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/^PPid:\t(\d+)$/m.exec(status)?.[1]);
}

async function empty(folder: string): Promise<void> {
  for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true, force: true });
}

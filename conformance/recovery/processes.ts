import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** Ids of processes by the name that the kernel shows. */
export async function processes(name: string): Promise<readonly number[]> {
  const found: number[] = [];
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const comm = await readFile(join("/proc", entry, "comm"), "utf8").catch(() => "");
    if (comm.trim() === name) found.push(Number(entry));
  }
  return found;
}

/** How many processes sleep for so many seconds. */
export async function sleeping(seconds: string): Promise<number> {
  const found = await Promise.all((await processes("sleep")).map((pid) => isSleeping(pid, seconds)));
  return found.filter(Boolean).length;
}

async function isSleeping(pid: number, seconds: string): Promise<boolean> {
  const text = await readFile(`/proc/${pid}/cmdline`, "latin1").catch(() => "");
  return text.includes(seconds);
}

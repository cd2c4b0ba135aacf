import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { patience } from "./patience.ts";
import type { ServerPaths } from "./server.ts";
import { stateRows } from "./state-rows.ts";

const run = promisify(execFile);

/** Everything a pod can leave behind, as sorted lines per kind: two snapshots of an idle server are equal. */
export type Snapshot = Readonly<Record<Resource, readonly string[]>>;
type Resource = "mounts" | "netns" | "cgroups" | "processes" | "links" | "leases" | "iptables" | "runFiles";

/** What exists now. The server may run or not. */
export async function snapshot(paths: ServerPaths): Promise<Snapshot> {
  return {
    mounts: await mounts(),
    netns: await names(paths.netnsDir),
    cgroups: await cgroups(),
    processes: await processes(),
    links: await links(),
    leases: (await names(paths.cni.leases)).filter((name) => /^[\d.]+$|:/.test(name)),
    iptables: await rules(),
    runFiles: await names(paths.runDir),
  };
}

/**
 * Asserts that nothing exists that `before` did not have. What the kernel finishes by itself after the last answer (a
 * process that is being reaped, a veth that goes with its namespace) gets until the deadline.
 */
export async function assertNothingLeaked(
  before: Snapshot,
  paths: ServerPaths,
  deadlineMs = patience(5_000),
): Promise<void> {
  const deadline = performance.now() + deadlineMs;
  let found = added(before, await snapshot(paths));
  // There is no event for "the kernel is done with it", so it is looked at again; each look takes some milliseconds.
  while (Object.keys(found).length > 0 && performance.now() < deadline) {
    found = added(before, await snapshot(paths));
  }
  assert.deepEqual(found, {}, "left behind");
}

/** Asserts that the state database of a stopped server holds no row of a sandbox, container, name, operation or network. */
export async function assertNoStateRows(paths: ServerPaths): Promise<void> {
  assert.deepEqual(await stateRows(paths.root), {}, "rows left in the state database");
}

function added(before: Snapshot, after: Snapshot): Partial<Record<Resource, string[]>> {
  const found: Partial<Record<Resource, string[]>> = {};
  for (const kind of Object.keys(after) as Resource[]) {
    const known = new Set(before[kind]);
    const lines = after[kind].filter((line) => !known.has(line));
    if (lines.length > 0) found[kind] = lines;
  }
  return found;
}

async function mounts(): Promise<string[]> {
  const table = await readFile("/proc/self/mountinfo", "utf8");
  return sorted(table.split("\n").map((line) => line.split(" ")[4] ?? ""));
}

async function names(folder: string): Promise<string[]> {
  return sorted(await readdir(folder).catch(() => []));
}

/**
 * Directories of every hierarchy, less the parents that are only ensured: a pod's parent is its kubelet's to remove, and
 * systemd's services and slices are systemd's.
 */
async function cgroups(): Promise<string[]> {
  const unified = existsSync("/sys/fs/cgroup/cgroup.controllers");
  const found = await directories("/sys/fs/cgroup", unified ? 2 : 3);
  return sorted(found.filter((path) => !/\.slice$|\/system\.slice\/[^/]*$/.test(path)));
}

/** Those below a folder, `depth` levels and deeper. */
export async function directories(folder: string, depth: number): Promise<readonly string[]> {
  const args = [folder, "-mindepth", String(depth), "-type", "d"];
  const { stdout } = await run("find", args, { maxBuffer: 1 << 24 }).catch(
    (error: { stdout?: string }) => ({ stdout: error.stdout ?? "" }), // one vanished while it was read
  );
  return stdout.split("\n").filter((path) => path !== "");
}

/** Living processes of this PID namespace, less this one and its children, by command: a restarted one equals the old. */
async function processes(): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const line = await processLine(pid);
    if (line !== undefined) found.push(line);
  }
  const counts = new Map<string, number>();
  return sorted(
    found.map((command) => {
      const count = (counts.get(command) ?? 0) + 1;
      counts.set(command, count);
      return `${command} (${count})`;
    }),
  );
}

async function processLine(pid: string): Promise<string | undefined> {
  try {
    const status = await readFile(join("/proc", pid, "status"), "utf8");
    const command = (await readFile(join("/proc", pid, "cmdline"), "utf8")).replaceAll("\0", " ").trim();
    const parent = /^PPid:\t(\d+)$/m.exec(status)?.[1];
    if (command === "" || Number(pid) === process.pid || Number(parent) === process.pid) return undefined;
    // Of the server, like the launcher; started when statistics are asked for.
    if (/^\S*nacelle-native stats /.test(command)) return undefined;
    // The machine's own, which look at each new link for a moment.
    if (/udev-worker|systemd-udevd/.test(command)) return undefined;
    // A launcher carries the number of its daemon's life, which is another one after each start.
    return command.replace(/( launcher \S+) \d+ /, "$1 ").slice(0, 200);
  } catch {
    return undefined; // it ended while it was read
  }
}

async function links(): Promise<string[]> {
  const { stdout } = await run("ip", ["-oneline", "link"]);
  const found = stdout.split("\n").map((line) => line.split(": ")[1]?.split("@")[0] ?? "");
  return sorted(found.filter((name) => name !== "nacelle0")); // the bridge stays, as the plugin means it to
}

/** Rules and chains of the plugins, less the frame of chains that they make once and keep. */
async function rules(): Promise<string[]> {
  const { stdout } = await run("iptables-save", []).catch(() => ({ stdout: "" }));
  const kept = /^[:#*]|^COMMIT|-j (CNI-(HOSTPORT|FORWARD|ADMIN)|MARK)|-A CNI-HOSTPORT-(MASQ|SETMARK)/;
  const chains = /^:(CNI-(?!HOSTPORT|FORWARD|ADMIN)\S+)/;
  const lines = stdout.split("\n");
  return sorted([
    ...lines.filter((line) => line !== "" && !kept.test(line)),
    ...lines.map((line) => chains.exec(line)?.[1] ?? ""),
  ]);
}

function sorted(lines: readonly string[]): string[] {
  return lines.filter((line) => line !== "").toSorted((a, b) => a.localeCompare(b));
}

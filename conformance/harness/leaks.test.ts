import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, rmdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import test, { type TestContext } from "node:test";
import { promisify } from "node:util";
import { exists } from "./event.ts";
import { requireIsolation } from "./isolation.ts";
import { assertNoStateRows, assertNothingLeaked, snapshot } from "./leaks.ts";
import { writeCni } from "./node-files.ts";
import type { ServerPaths } from "./server.ts";

const run = promisify(execFile);

async function paths(t: TestContext): Promise<ServerPaths> {
  await requireIsolation();
  const folder = await mkdtemp(join(tmpdir(), "n-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  for (const name of ["root", "run", "netns", "elsewhere"]) await mkdir(join(folder, name));
  const cni = await writeCni(folder);
  await mkdir(cni.leases, { recursive: true });
  const below = (name: string) => join(folder, name);
  return {
    folder,
    socket: below("socket"),
    root: below("root"),
    runDir: below("run"),
    netnsDir: below("netns"),
    log: below("log"),
    cni,
  };
}

/** A process that is nobody's child here, as a monitor is. */
async function orphan(): Promise<() => Promise<void>> {
  const { stdout } = await run("sh", ["-c", "sleep 1000 >/dev/null 2>&1 & echo $!"]);
  return async () => {
    process.kill(Number(stdout));
  };
}

/** What a pod can leave behind: how to plant it and, as the answer, how to take it away. */
const plants: Readonly<Record<string, (at: ServerPaths) => Promise<() => Promise<unknown>>>> = {
  mounts: async ({ folder }) => {
    const target = join(folder, "elsewhere");
    await run("mount", ["-t", "tmpfs", "tmpfs", target]);
    return () => run("umount", [target]);
  },
  netns: async ({ netnsDir }) => plantFile(join(netnsDir, "nacelle-1")),
  cgroups: async () => {
    const alone = await exists("/sys/fs/cgroup/cgroup.controllers");
    const parent = alone ? "/sys/fs/cgroup/parent" : "/sys/fs/cgroup/unified/parent";
    await mkdir(join(parent, "leak"), { recursive: true });
    return () => rmdir(join(parent, "leak"));
  },
  processes: () => orphan(),
  links: async () => {
    await run("ip", ["link", "add", "leak0", "type", "bridge"]);
    return () => run("ip", ["link", "del", "leak0"]);
  },
  leases: async ({ cni }) => plantFile(join(cni.leases, "10.88.0.7")),
  iptables: async () => {
    await run("iptables", ["-t", "nat", "-N", "CNI-0123456789abcdef"]);
    return () => run("iptables", ["-t", "nat", "-X", "CNI-0123456789abcdef"]);
  },
  runFiles: async ({ runDir }) => plantFile(join(runDir, "forgotten")),
};

async function plantFile(path: string): Promise<() => Promise<void>> {
  await writeFile(path, "");
  return () => rm(path);
}

for (const [kind, plant] of Object.entries(plants)) {
  test(`something left in ${kind} is found, and nothing else`, async (t) => {
    const at = await paths(t);
    const clean = await snapshot(at);
    const remove = await plant(at);
    try {
      await assert.rejects(assertNothingLeaked(clean, at, 0), (error: assert.AssertionError) => {
        assert.deepEqual(Object.keys(error.actual ?? {}), [kind]);
        return true;
      });
    } finally {
      await remove();
    }
    await assertNothingLeaked(clean, at);
  });
}

test("rows of pods are found, rows of images are not", async (t) => {
  const at = await paths(t);
  using database = new DatabaseSync(join(at.root, "state.db"));
  database.exec(
    "CREATE TABLE images (id TEXT); CREATE TABLE sandboxes (id TEXT); CREATE TABLE names (kind TEXT, name TEXT)",
  );
  database.exec("INSERT INTO images VALUES ('a'); INSERT INTO names VALUES ('images', 'a')");
  await assertNoStateRows(at);
  database.exec("INSERT INTO sandboxes VALUES ('b')");
  await assert.rejects(assertNoStateRows(at), /sandboxes/);
});

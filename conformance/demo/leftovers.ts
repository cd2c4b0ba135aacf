import assert from "node:assert/strict";
import { cp, mkdtemp, readdir, rm, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assertNoStateRows, assertNothingLeaked, type Snapshot, snapshot } from "../harness/leaks.ts";
import type { Server, ServerPaths } from "../harness/server.ts";
import { stateRows } from "../harness/state-rows.ts";
import { cgroupParent } from "./pods.ts";

/** What is looked for at the end, in words; each kind must have been found while the pods ran. */
const kinds = {
  mounts: "mounts",
  netns: "network namespaces",
  cgroups: "cgroups",
  processes: "processes",
  links: "network links",
  leases: "leased IPs",
  iptables: "iptables rules and chains",
} as const satisfies Partial<Record<keyof Snapshot, string>>;

type Kind = keyof typeof kinds;

/** What pods take and give back, measured against the moment when nacelle had just started. */
export class Leftovers {
  readonly #paths: ServerPaths;
  readonly #idle: Snapshot;
  readonly #held = new Map<string, number>();

  private constructor(paths: ServerPaths, idle: Snapshot) {
    this.#paths = paths;
    this.#idle = idle;
  }

  static async since(server: Server): Promise<Leftovers> {
    const idle = await snapshot(server.paths);
    assert.ok(idle.processes.some(isOurs), "nacelle's own processes are not recognised");
    return new Leftovers(server.paths, idle);
  }

  /** Counts what the pods hold now. None of a kind is an error: looking for it later would prove nothing. */
  async whilePodsRun(): Promise<string> {
    const now = await snapshot(this.#paths);
    for (const kind of Object.keys(kinds) as Kind[]) {
      const known = new Set(this.#idle[kind]);
      const count = now[kind].filter((line) => !known.has(line)).length;
      assert.ok(count > 0, `running pods hold no ${kinds[kind]}: the search looks in the wrong place`);
      this.#held.set(kinds[kind], count);
    }
    return list(this.#held);
  }

  /** Counts the state rows of a killed server, in a copy: the database itself waits for its owner. */
  async rowsWhileDead(): Promise<string> {
    await using undo = new AsyncDisposableStack();
    const copy = undo.adopt(await mkdtemp(join(tmpdir(), "rows-")), (path) => rm(path, { recursive: true }));
    for (const name of (await readdir(this.#paths.root)).filter((file) => file.startsWith("state.db"))) {
      await cp(join(this.#paths.root, name), join(copy, name));
    }
    const rows = await stateRows(copy);
    const shown = ["sandboxes", "containers", "attachments"].map((table) => [table, rows[table] ?? 0] as const);
    for (const [table, count] of shown) assert.ok(count > 0, `running pods have no rows of ${table}`);
    return list(new Map(shown));
  }

  /** Asserts that nothing is there that was not there before the pods; answers what was looked for. */
  async assertNone(): Promise<string> {
    await assertNothingLeaked(this.#idle, this.#paths);
    return list(new Map([...this.#held.keys()].map((kind) => [kind, 0])));
  }

  /** Asserts that a server that has ended left no process and no row. */
  async assertNoTrace(): Promise<void> {
    const { processes } = await snapshot(this.#paths);
    assert.deepEqual(processes.filter(isOurs), [], "processes left");
    await assertNothingLeaked(this.#idle, this.#paths);
    await assertNoStateRows(this.#paths);
  }
}

/** A process of nacelle or of an OCI runtime, by its command line. */
function isOurs(command: string): boolean {
  return /nacelle-(native|monitor)|src\/main\.ts|(^|\/)(runc|crun|pause)( |$)/.test(command);
}

/** Removes the pods' cgroup parent as a kubelet does; the kernel refuses that while anything is in it. */
export async function removeCgroupParent(): Promise<number> {
  let removed = 0;
  for (const hierarchy of ["", ...(await readdir("/sys/fs/cgroup"))]) {
    removed += await rmdir(join("/sys/fs/cgroup", hierarchy, cgroupParent)).then(
      () => 1,
      (error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT" || error.code === "ENOTDIR") return 0;
        throw error;
      },
    );
  }
  assert.ok(removed > 0, `no cgroup ${cgroupParent} was ever there`);
  return removed;
}

function list(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([kind, count]) => `${count} ${kind}`).join(", ");
}

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, fdatasync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { promisify } from "node:util";
import { GroupSync } from "./group-sync.ts";
import { open, random, scratch } from "./store.fixture.ts";

const sync = promisify(fdatasync);

/**
 * Copies what a machine that loses power now is sure to keep. By another process: closing a handle on the database in
 * this one would drop its lock.
 */
function copyDisk(from: string, to: string): void {
  const files = ["state.db", "state.db-wal"].map((name) => join(from, name));
  assert.equal(spawnSync("cp", [...files, to]).status, 0);
}

describe("Store.durable", () => {
  it("acknowledges nothing that a loss of all unsynced writes could take back", async () => {
    using directory = scratch();
    const [root, kept] = [join(directory.path, "root"), join(directory.path, "kept")];
    mkdirSync(kept);
    const next = random(7);
    const acknowledged: string[] = [];
    let syncs = 0;
    const recording = async (fd: number): Promise<void> => {
      // A sync is sure to cover what was written before it began, and nothing that was written while it ran.
      const staged = join(directory.path, "staged");
      mkdirSync(staged);
      copyDisk(root, staged);
      await sync(fd);
      rmSync(kept, { recursive: true });
      renameSync(staged, kept);
      syncs += 1;
    };
    await using store = open(root, { fdatasync: recording });
    const rows = store.table<{ readonly n: number }, object>("sandboxes");
    const writer = async (name: string): Promise<void> => {
      for (let n = 0; n < 12; n += 1) {
        await store.save([rows.insert(`${name}-${n}`, { n }, { filler: "x".repeat(next() * 5000) })]);
        acknowledged.push(`${name}-${n}`);
        if (n === 6) await store.checkpoint();
        await assertKept(kept, acknowledged);
      }
    };
    await Promise.all(["a", "b", "c", "d", "e"].map(writer));
    assert.equal(acknowledged.length, 60);
    assert.ok(syncs < 60, `${syncs} syncs for 60 commits: they did not share any`);
  });

  it("rejects after a failed sync, even when the next one succeeds, until all is written anew", async () => {
    using directory = scratch();
    let failures = 1;
    const failing = (fd: number) => (failures-- > 0 ? Promise.reject(new Error("EIO: i/o error")) : sync(fd));
    {
      await using store = open(directory.path, { fdatasync: failing });
      const rows = store.table<object, object>("containers");
      await assert.rejects(store.save([rows.insert("a", {}, {})]), /state cannot be written to disk: EIO/);
      await assert.rejects(store.durable(), /EIO/);
      store.observe([rows.update("a", { exited: true })]);
      assert.ok(store.wantsQuiet);
      await store.quiet();
      await store.save([rows.insert("b", {}, {})]);
    }
    await using store = open(directory.path);
    const states = store
      .table("containers")
      .list()
      .map(({ id, state }) => [id, state]);
    assert.deepEqual(states, [
      ["a", { exited: true }],
      ["b", {}],
    ]);
  });

  it("finishes a rewrite that was cut off once its new file was whole", async () => {
    using directory = scratch();
    const [old, fresh] = [join(directory.path, "old"), join(directory.path, "new")];
    for (const root of [old, fresh]) {
      await using store = open(root);
      store.commit([store.table("images").insert(root, {}, {})]);
    }
    copyFileSync(join(fresh, "state.db"), join(old, "state.db.whole"));
    writeFileSync(join(old, "state.db-wal"), "left over, must not be replayed");
    await using store = open(old);
    assert.ok(store.table("images").get(fresh));
    assert.equal(store.table("images").size, 1);
    assert.equal(existsSync(join(old, "state.db.whole")), false);
  });
});

async function assertKept(kept: string, ids: readonly string[]): Promise<void> {
  using copy = scratch();
  copyDisk(kept, copy.path);
  const expected = [...ids];
  await using store = open(copy.path);
  for (const id of expected) assert.ok(store.table("sandboxes").get(id), `${id} was acknowledged and is lost`);
}

describe("GroupSync", () => {
  it("does not let a write ride on a sync that began before it", async () => {
    const syncs: PromiseWithResolvers<void>[] = [];
    const group = new GroupSync(() => {
      const begun = Promise.withResolvers<void>();
      syncs.push(begun);
      return begun.promise;
    });
    const order: string[] = [];
    group.written();
    const first = group.durable().then(() => order.push("first"));
    group.written();
    const second = group.durable().then(() => order.push("second"));
    group.written();
    const third = group.durable().then(() => order.push("third"));
    assert.equal(syncs.length, 1);
    syncs[0]?.resolve();
    await first;
    assert.deepEqual(order, ["first"]);
    assert.equal(syncs.length, 2);
    syncs[1]?.resolve();
    await Promise.all([second, third]);
    assert.deepEqual([order, syncs.length], [["first", "second", "third"], 2]);
  });

  it("asks for no sync when nothing was written", async () => {
    await new GroupSync(() => assert.fail("synced")).durable();
  });
});

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, it } from "node:test";
import { DomainError } from "../lib/errors.ts";
import { type Change, releaseName, reserveName, setMeta } from "./change.ts";
import { readOwner } from "./owner.ts";
import { tableNames } from "./schema.ts";
import { type Fixed, fixed, open, random, type State, scratch } from "./store.fixture.ts";
import type { Store } from "./store.ts";

function contents(store: Store): unknown {
  // Through JSON: a member that is undefined and one that is absent mean the same.
  return JSON.parse(JSON.stringify(tableNames.map((name) => [name, store.table(name).list()])));
}

function isKind(kind: string): (error: unknown) => boolean {
  return (error) => error instanceof DomainError && error.kind === kind;
}

/** Some changes that are valid together for what the store holds now. */
function randomChanges(store: Store, next: () => number, serial: number): Change[] {
  const name = tableNames[Math.floor(next() * tableNames.length)] ?? "sandboxes";
  const table = store.table<Fixed, State>(name);
  const victim = table.list()[Math.floor(next() * table.size)];
  const state = { phase: "x".repeat(Math.floor(next() * 3000)), count: serial };
  if (victim === undefined || next() < 0.4) {
    const id = `${name}-${serial}`;
    return [table.insert(id, fixed("f".repeat(Math.floor(next() * 9000))), state), reserveName(name, `n${serial}`, id)];
  }
  if (next() < 0.6) return [table.update(victim.id, state), setMeta("last", String(serial))];
  const held = `n${victim.id.split("-")[1]}`;
  return [table.delete(victim.id), releaseName(name, held)];
}

describe("Store", () => {
  it("reads back after each reopening exactly what was committed", async () => {
    using directory = scratch();
    const next = random(20261121);
    let before: unknown;
    for (let round = 0; round < 8; round += 1) {
      await using store = open(directory.path);
      if (before !== undefined) assert.deepEqual(contents(store), before);
      assert.equal(store.epoch, round + 1);
      for (let i = 0; i < 60; i += 1) store.commit(randomChanges(store, next, round * 1000 + i));
      if (round % 3 === 0) await store.checkpoint();
      before = contents(store);
      assert.ok(store.table("images").size > 0);
    }
  });

  it("keeps instants to the nanosecond and the order of insertion", async () => {
    using directory = scratch();
    {
      await using store = open(directory.path);
      const table = store.table<Fixed, State>("containers");
      for (const id of ["z", "a", "m"]) await store.save([table.insert(id, fixed(id), { phase: "created", count: 0 })]);
      store.commit([table.update("z", { phase: "running", count: 1 })]);
    }
    await using store = open(directory.path);
    const rows = store.table<Fixed, State>("containers").list();
    assert.deepEqual(
      rows.map((row) => row.id),
      ["z", "a", "m"],
    );
    assert.ok(rows[0]?.fixed.createdAt.equals(fixed("z").createdAt));
    assert.deepEqual(rows[0]?.state, { phase: "running", count: 1 });
  });

  it("changes nothing, in memory or on disk, when one change of a commit fails", async () => {
    using directory = scratch();
    {
      await using store = open(directory.path);
      const table = store.table<Fixed, State>("sandboxes");
      const state = { phase: "ready", count: 0 };
      store.commit([table.insert("one", fixed("one"), state), reserveName("sandbox", "pod", "one")]);
      const taken = [table.insert("two", fixed("two"), state), reserveName("sandbox", "pod", "two")];
      assert.throws(() => store.commit(taken), isKind("alreadyExists"));
      assert.throws(() => store.commit([table.insert("one", fixed("x"), state)]), isKind("alreadyExists"));
      const absent = [table.update("one", { phase: "notReady", count: 9 }), table.update("absent", state)];
      assert.throws(() => store.commit(absent), isKind("notFound"));
      assert.throws(
        () => store.commit([setMeta("k", "v"), table.update("one", { phase: "", count: Number.NaN })]),
        isKind("internal"),
      );
      assert.equal(store.holder("sandbox", "pod"), "one");
      assert.equal(store.meta("k"), undefined);
      assert.deepEqual(
        table.list().map((row) => [row.id, row.state]),
        [["one", state]],
      );
    }
    await using store = open(directory.path);
    assert.deepEqual(
      store
        .table("sandboxes")
        .list()
        .map((row) => row.id),
      ["one"],
    );
    assert.equal(store.holder("sandbox", "pod"), "one");
  });

  it("frees and takes a name in one commit", async () => {
    using directory = scratch();
    await using store = open(directory.path);
    store.commit([reserveName("sandbox", "pod", "one")]);
    store.commit([releaseName("sandbox", "pod"), reserveName("sandbox", "pod", "two"), releaseName("sandbox", "free")]);
    assert.equal(store.holder("sandbox", "pod"), "two");
  });

  it("tells a reboot until the transaction that ends the last boot has recorded it", async () => {
    using directory = scratch();
    await using first = open(directory.path);
    assert.equal(first.previousBootId, undefined);
    assert.equal(first.rebooted, false);
    await first[Symbol.asyncDispose]();
    for (let crash = 0; crash < 2; crash += 1) {
      await using store = open(directory.path, { bootId: "boot-2" });
      assert.equal(store.rebooted, true);
      if (crash === 1) store.commit([store.bootRecorded()]);
    }
    await using last = open(directory.path, { bootId: "boot-2" });
    assert.equal(last.rebooted, false);
  });

  it("keeps the root to itself: mode 0700, an owner's file, nothing but the database afterwards", async () => {
    using directory = scratch();
    const root = join(directory.path, "deep", "root");
    {
      await using _store = open(root);
      assert.equal(statSync(root).mode & 0o777, 0o700);
      assert.deepEqual(readOwner(root), { pid: process.pid, startTime: "7", listen: "/run/test.sock" });
    }
    assert.equal(existsSync(join(root, "owner")), false);
    assert.equal(existsSync(join(root, "state.db-wal")), false);
  });
});

describe("Store.open", () => {
  it("is refused while another process has the root, naming it, even by a damaged owner's file", async () => {
    using directory = scratch();
    const script = `
      const { open } = await import(${JSON.stringify(join(import.meta.dirname, "store.fixture.ts"))});
      open(${JSON.stringify(directory.path)});
      process.stdout.write("open");
      process.stdin.resume();`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    for await (const _chunk of child.stdout) break;
    assert.throws(() => open(directory.path), {
      message: `${directory.path} is in use by process ${child.pid} (/run/test.sock)`,
    });
    for (const damage of ["", "{", "[]", '{"pid":"x"}', "\0".repeat(9000)]) {
      writeFileSync(join(directory.path, "owner"), damage);
      assert.throws(() => open(directory.path), { message: `${directory.path} is in use by another process` });
    }
    const { promise: gone, resolve } = Promise.withResolvers<void>();
    child.once("exit", () => resolve());
    child.kill("SIGKILL");
    await gone;
    await using store = open(directory.path);
    assert.equal(store.epoch, 2);
  });

  it("refuses what a newer program wrote, unless that says it is readable", async () => {
    using directory = scratch();
    await open(directory.path)[Symbol.asyncDispose]();
    write(directory.path, [["schemaVersion", "2"]]);
    await open(directory.path)[Symbol.asyncDispose]();
    write(directory.path, [
      ["schemaVersion", "3"],
      ["readableBy", "2"],
    ]);
    assert.throws(
      () => open(directory.path),
      /has schema version 3, readable by programs of 2 and later; this one knows 1/,
    );
  });

  it("says that a file is damaged, and leaves it as it is", () => {
    using directory = scratch();
    const path = join(directory.path, "state.db");
    writeFileSync(path, "not a database at all, but long enough to be looked at".repeat(40));
    const before = statSync(path);
    assert.throws(() => open(directory.path), /state\.db is damaged .*move it away/);
    assert.deepEqual([statSync(path).size, statSync(path).mtimeMs], [before.size, before.mtimeMs]);
  });
});

function write(root: string, meta: readonly (readonly [string, string])[]): void {
  using database = new DatabaseSync(join(root, "state.db"));
  for (const [key, value] of meta) database.prepare("INSERT OR REPLACE INTO meta VALUES (?, ?)").run(key, value);
}

it("survives SIGKILL in the middle of commits: what was acknowledged is there, and every commit is whole", async () => {
  using directory = scratch();
  const child = join(import.meta.dirname, "store.crash-child.ts");
  let seen = 0;
  for (let round = 0; round < 6; round += 1) {
    const { stdout, signal } = spawnSync(process.execPath, [child, directory.path, String(7 + round * 5)], {
      encoding: "utf8",
    });
    assert.equal(signal, "SIGKILL");
    const acknowledged = stdout.trim().split("\n").map(Number);
    const store = open(directory.path);
    const rows = store.table<{ readonly pair: string }, { readonly serial: number }>("sandboxes");
    for (const serial of acknowledged) assert.ok(rows.get(`a${serial}`) && rows.get(`b${serial}`), `lost ${serial}`);
    for (const row of rows.list()) assert.ok(rows.get(row.fixed.pair), `half a commit: ${row.id}`);
    assert.ok(rows.size > seen);
    seen = rows.size;
    await store[Symbol.asyncDispose]();
  }
});

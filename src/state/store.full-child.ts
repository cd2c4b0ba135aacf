/** Run by store.kernel.test.ts with a file system of 2.5 MB as its argument: fills it and sees what the store does. */
import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DomainError } from "../lib/errors.ts";
import { open } from "./store.fixture.ts";

const [disk = ""] = process.argv.slice(2);
const root = join(disk, "root");
const isFull = (error: unknown) =>
  error instanceof DomainError &&
  error.kind === "resourceExhausted" &&
  /no space left .*free space/.test(error.message);

{
  await using store = open(root);
  const rows = store.table<object, { readonly phase: string }>("containers");
  await store.save([rows.insert("a", {}, { phase: "running" }), rows.insert("b", {}, { phase: "running" })]);
  fill();
  assert.throws(() => {
    for (let n = 0; ; n += 1) store.commit([rows.insert(`filler-${n}`, { text: "x".repeat(4000) }, { phase: "" })]);
  }, isFull);
  const size = rows.size;
  assert.throws(() => store.commit([rows.insert("new", { text: "x".repeat(20_000) }, { phase: "" })]), isFull);
  assert.equal(rows.size, size);
  store.observe([rows.update("a", { phase: "exited" })]);
  await store.save([rows.delete("b")], { essential: true });
  assert.ok(store.wantsQuiet);
  assert.throws(() => store.commit([rows.insert("small", {}, { phase: "" })]), isFull);
  rmSync(join(disk, "ballast"));
  await store.quiet();
  await store.save([rows.insert("small", {}, { phase: "" })]);
}
await using store = open(root);
const rows = store.table<object, object>("containers");
assert.deepEqual(rows.get("a")?.state, { phase: "exited" });
assert.equal(rows.get("b"), undefined);
assert.ok(rows.get("small"));
process.stdout.write("ok\n");

function fill(): void {
  for (let size = 1 << 20; size >= 4096; size /= 2) {
    try {
      for (;;) writeFileSync(join(disk, "ballast"), Buffer.alloc(size, "b"), { flag: "a" });
    } catch {
      // no room for a piece of this size: try smaller ones
    }
  }
}

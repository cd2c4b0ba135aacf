import assert from "node:assert/strict";
import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { guards } from "./guards.ts";

const root = join(import.meta.dirname, "../..");

test("every guard is where the table says, and there is a file with its test", async () => {
  for (const { of, layers, test: testFile } of guards) {
    for (const { file, text } of layers) {
      const found = (await readFile(join(root, file), "utf8")).split(text).length - 1;
      assert.equal(found, 1, `${of}: ${file} has ${found} times ${text}`);
    }
    await access(join(root, testFile));
  }
});

test("every vulnerability in the documents' table has a guard or a reason, and every guard is in the table", async () => {
  const table = await readFile(join(root, "SECURITY.md"), "utf8");
  const rows = new Set(table.match(/\b(?:CVE-\d{4}-\d+|GHSA(?:-\w{4}){3})\b/g));
  assert.ok(rows.size >= 40, `${rows.size} rows`);
  assert.deepEqual(new Set(guards.flatMap(({ of }) => of)).difference(rows), new Set());
});

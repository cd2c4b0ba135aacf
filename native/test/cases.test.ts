import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

const checkout = join(import.meta.dirname, "../..");
const page = readFileSync(join(checkout, "docs/MONITOR-CASES.md"), "utf8");
const rows = page.split("\n").filter((line) => /^\| \d+ \|/.test(line));

/** "`file`: "name", "name"; `file`: …" */
const references = rows.flatMap((row) =>
  [...row.matchAll(/`([\w./-]+\.test\.ts)`: ((?:"[^"]+"(?:, )?)+)/g)].flatMap(([, file = "", names = ""]) =>
    [...names.matchAll(/"([^"]+)"/g)].map(([, name = ""]) => ({ file, name })),
  ),
);

test("each of the 36 cases names what excludes it, and the tests that it names are there", () => {
  assert.equal(rows.length, 36);
  for (const [at, row] of rows.entries()) assert.match(row, new RegExp(`^\\| ${at + 1} \\|.*\\.test\\.ts\`: "`));
  for (const { file, name } of references) {
    const source = readFileSync(join(checkout, file), "utf8");
    assert.ok(source.includes(name), `${file} has no test ${JSON.stringify(name)}`);
  }
});

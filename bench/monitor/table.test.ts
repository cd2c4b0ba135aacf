import assert from "node:assert/strict";
import { it } from "node:test";
import { isMet, type Row, tableOf } from "./table.ts";

const row = (ours: number, target: Row["target"], theirs?: number): Row => ({
  ...{ what: "speed", unit: "MB/s", ours },
  ...(theirs === undefined ? {} : { theirs }),
  ...(target === undefined ? {} : { target }),
});

it("judges a figure by its limits and by its ratio, of which none may be missing", () => {
  assert.ok(isMet(row(1, undefined)));
  assert.ok(isMet(row(2, { most: 2, least: 2 })));
  assert.ok(!isMet(row(2.1, { most: 2 })));
  assert.ok(!isMet(row(1.9, { least: 2 })));
  assert.ok(isMet(row(4, { leastRatio: 2 }, 2)));
  assert.ok(!isMet(row(3.9, { leastRatio: 2 }, 2)));
  assert.ok(!isMet(row(4, { leastRatio: 2 })));
  assert.ok(!isMet(row(Number.NaN, { most: 2 })));
});

it("prints figures under a head, with what was missed in capitals", () => {
  const table = tableOf([row(800, { least: 700, leastRatio: 2 }, 500), row(0.5, { most: 1 }), row(3, undefined)]);
  assert.deepEqual(
    table.split("\n"),
    [
      "       nacelle    conmon  ratio  target        ",
      "speed  800 MB/s   500     1.60   ≥ 700, ≥ 2 ×  MISSED",
      "speed  0.50 MB/s                 ≤ 1           met",
      "speed  3 MB/s",
    ].map((line) => line.trimEnd()),
  );
});

import assert from "node:assert/strict";
import { it } from "node:test";
import { alternating, figuresOf } from "./measure.ts";

it("finds the middle and the slow end of durations in any order", () => {
  const times = Array.from({ length: 200 }, (_, index) => 200 - index);
  assert.deepEqual(figuresOf(times), { p50: 101, p99: 199 });
  assert.deepEqual(figuresOf([7]), { p50: 7, p99: 7 });
});

it("lets competitors take turns, and changes who goes first", async () => {
  const calls: string[] = [];
  const competitors = { a: async () => calls.push("a"), b: async () => calls.push("b") };
  const figures = await alternating(competitors, 3);
  assert.equal(calls.join(""), "abbaab");
  assert.ok(figures.a.p50 >= 0 && figures.b.p99 >= figures.b.p50);
});

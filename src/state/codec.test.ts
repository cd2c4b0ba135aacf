import assert from "node:assert/strict";
import { it } from "node:test";
import { decode, encode } from "./codec.ts";

it("gives instants back as instants, at any depth", () => {
  const at = Temporal.Instant.from("2026-11-21T12:00:00.000000001Z");
  const back = decode(encode({ at, list: [{ at }], text: '"@instant"', none: undefined }));
  assert.ok(typeof back === "object" && back !== null && "at" in back && back.at instanceof Temporal.Instant);
  assert.equal(back.at.epochNanoseconds, at.epochNanoseconds);
  assert.equal(encode(back), encode({ at, list: [{ at }], text: '"@instant"' }));
});

it("refuses what JSON would bend", () => {
  const bent = [new Map(), Buffer.from("x"), new Date(), Number.NaN, Number.POSITIVE_INFINITY];
  for (const value of bent) assert.throws(() => encode({ value }), /cannot be stored in "value"/);
});

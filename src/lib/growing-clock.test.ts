import assert from "node:assert/strict";
import { it } from "node:test";
import { growingClock } from "./growing-clock.ts";

it("a growing clock follows the machine's, and goes on where that one stands still or is set back", () => {
  const readings = [5n, 5n, 3n, 9n];
  const now = growingClock(() => Temporal.Instant.fromEpochNanoseconds(readings.shift() ?? 0n));
  const stamps = [now(), now(), now(), now(), now()].map(({ epochNanoseconds }) => epochNanoseconds);
  assert.deepEqual(stamps, [5n, 6n, 7n, 9n, 10n]);
});

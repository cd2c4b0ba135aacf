import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Retries } from "./retries.ts";

describe("Retries", () => {
  it("tries until it succeeds, telling of each failure", async () => {
    const failures: number[] = [];
    const { promise: done, resolve } = Promise.withResolvers<void>();
    await using retries = new Retries(
      ({ attempts }) => failures.push(attempts),
      () => 0,
    );
    let left = 2;
    retries.add("sandbox x", async () => {
      if (left-- > 0) throw new Error("busy");
      resolve();
    });
    await done;
    assert.deepEqual(failures, [1, 2]);
  });

  it("shows what is still owed and why, and leaves it when closed", async () => {
    const failed = Promise.withResolvers<void>();
    const retries = new Retries(
      () => failed.resolve(),
      () => 60_000,
    );
    retries.add("sandbox x", () => Promise.reject(new Error("device busy")));
    await failed.promise;
    assert.deepEqual(retries.snapshot(), [{ key: "sandbox x", attempts: 1, lastError: "device busy" }]);
    await retries[Symbol.asyncDispose]();
  });
});

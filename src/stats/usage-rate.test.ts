import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { UsageRates } from "./usage-rate.ts";

const MS = 1_000_000n;

describe("the rate of CPU use", () => {
  it("is unknown at the first look, and then what was used since the last", () => {
    const rates = new UsageRates();
    assert.equal(rates.observe("a", 0n, 5e9), undefined);
    assert.equal(rates.observe("a", 2_000n * MS, 6e9), 5e8);
    assert.equal(rates.observe("a", 3_000n * MS, 6e9), 0);
  });

  it("stays as it is for looks that follow within 100 ms, and counts from the last that did not", () => {
    const rates = new UsageRates();
    rates.observe("a", 0n, 0);
    assert.equal(rates.observe("a", 50n * MS, 5e7), undefined);
    assert.equal(rates.observe("a", 100n * MS, 1e8), 1e9);
    assert.equal(rates.observe("a", 150n * MS, 1e8), 1e9);
    assert.equal(rates.observe("a", 300n * MS, 1e8), 0);
  });

  it("begins anew when the clock was set back", () => {
    const rates = new UsageRates();
    rates.observe("a", 3_600_000n * MS, 1e9);
    assert.equal(rates.observe("a", 0n, 2e9), undefined);
    assert.equal(rates.observe("a", 1_000n * MS, 3e9), 1e9);
  });

  it("begins anew when less was used than before, and is forgotten with what it is of", () => {
    const rates = new UsageRates();
    rates.observe("a", 0n, 9e9);
    assert.equal(rates.observe("a", 1_000n * MS, 1e9), undefined);
    assert.equal(rates.observe("a", 2_000n * MS, 2e9), 1e9);
    rates.observe("b", 0n, 0);
    rates.keep((id) => id === "b");
    assert.equal(rates.size, 1);
    assert.equal(rates.observe("a", 3_000n * MS, 3e9), undefined);
  });
});

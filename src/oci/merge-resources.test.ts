import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Resources } from "./config.ts";
import { mergeResources, NO_RESOURCES, takenBack } from "./merge-resources.ts";

const all: Resources = {
  cpuPeriod: 100_000,
  cpuQuota: 50_000,
  cpuShares: 512,
  memoryLimitBytes: 64,
  memorySwapLimitBytes: 64,
  oomScoreAdj: 500,
  cpusetCpus: "0",
  cpusetMems: "0",
  hugepageLimits: [{ pageSize: "2MB", limit: 4 }],
  unified: { "memory.high": "60" },
};

describe("an update", () => {
  it("that specifies nothing changes nothing", () => {
    assert.deepEqual(mergeResources(all, NO_RESOURCES), all);
    assert.deepEqual(mergeResources(undefined, NO_RESOURCES), NO_RESOURCES);
  });

  it("of a container without resources is all that there is then", () => {
    assert.deepEqual(mergeResources(undefined, all), all);
  });

  it("made twice is the same as made once", () => {
    const asked = { ...NO_RESOURCES, memoryLimitBytes: 128, hugepageLimits: [{ pageSize: "1GB", limit: 0 }] };
    const once = mergeResources(all, asked);
    assert.deepEqual(mergeResources(once, asked), once);
  });

  for (const field of Object.keys(NO_RESOURCES) as (keyof Resources)[]) {
    it(`of ${field} alone leaves every other field`, () => {
      const asked: Resources = { ...NO_RESOURCES, ...changes[field] };
      const merged = mergeResources({ ...all, memorySwapLimitBytes: 0 }, asked);
      assert.deepEqual(merged, { ...all, memorySwapLimitBytes: 0, ...changes[field] });
    });
  }
});

const changes: { readonly [Field in keyof Resources]: Partial<Resources> } = {
  cpuPeriod: { cpuPeriod: 50_000 },
  cpuQuota: { cpuQuota: -1 },
  cpuShares: { cpuShares: 2 },
  memoryLimitBytes: { memoryLimitBytes: 128 },
  memorySwapLimitBytes: { memorySwapLimitBytes: -1 },
  oomScoreAdj: { oomScoreAdj: -5 },
  cpusetCpus: { cpusetCpus: "1-2" },
  cpusetMems: { cpusetMems: "1" },
  hugepageLimits: { hugepageLimits: [{ pageSize: "2MB", limit: 0 }] },
  unified: { unified: { "memory.high": "max" } },
};

describe("a new memory limit", () => {
  const after = (swap: number, memoryLimitBytes: number, memorySwapLimitBytes = 0) =>
    mergeResources({ ...all, memorySwapLimitBytes: swap }, { ...NO_RESOURCES, memoryLimitBytes, memorySwapLimitBytes })
      .memorySwapLimitBytes;

  it("keeps the room for swap", () => {
    assert.equal(after(64, 128), 128);
    assert.equal(after(96, 128), 160);
    assert.equal(after(96, 32), 64);
  });

  it("leaves swap without a limit, or with the one that follows from memory's", () => {
    assert.equal(after(-1, 128), -1);
    assert.equal(after(0, 128), 0);
  });

  it("that is none ends the limit of swap too", () => {
    assert.equal(after(96, -1), -1);
  });

  it("does not move what is given with it", () => {
    assert.equal(after(96, 128, 130), 130);
  });
});

it("huge page sizes and unified files are kept one by one", () => {
  const asked = { ...NO_RESOURCES, hugepageLimits: [{ pageSize: "1GB", limit: 0 }], unified: { "memory.min": "1" } };
  const { hugepageLimits, unified } = mergeResources(all, asked);
  assert.deepEqual(hugepageLimits, [
    { pageSize: "2MB", limit: 4 },
    { pageSize: "1GB", limit: 0 },
  ]);
  assert.deepEqual(unified, { "memory.high": "60", "memory.min": "1" });
});

describe("an update that is taken back", () => {
  it("leaves what was before it", () => {
    const intended = mergeResources(all, { ...NO_RESOURCES, cpuShares: 2, memoryLimitBytes: 128, cpusetCpus: "3" });
    assert.deepEqual(takenBack(all, intended), all);
  });

  it("leaves no limit where there was none", () => {
    const defaults = { cpuPeriod: 100_000, cpuQuota: -1, cpuShares: 1024, memoryLimitBytes: -1 };
    for (const before of [NO_RESOURCES, undefined]) {
      assert.deepEqual(takenBack(before, all), { ...all, ...defaults, memorySwapLimitBytes: -1, oomScoreAdj: 0 });
    }
  });

  it("touches nothing that it had not set", () => {
    assert.deepEqual(takenBack(NO_RESOURCES, { ...NO_RESOURCES, cpuShares: 2 }), { ...NO_RESOURCES, cpuShares: 1024 });
  });
});

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { Operation } from "../launcher/operations.ts";
import { type DiskTree, DiskWalks } from "./disk-walks.ts";

const at = Temporal.Instant.fromEpochMilliseconds(9);

/** Walks that end when the test says so. */
class FakeDisk {
  readonly walking = new Map<string, PromiseWithResolvers<readonly Buffer[]>>();
  readonly reports: string[] = [];
  most = 0;
  readonly walks = new DiskWalks({
    operations: { perform: (operations) => this.#perform(operations) },
    intervalMs: 1,
    now: () => at,
    report: (message, { container }) => this.reports.push(`${container}: ${message}`),
  });

  end(path: string, result: string | Error): void {
    const walk = this.walking.get(path);
    this.walking.delete(path);
    if (result instanceof Error) walk?.reject(result);
    else walk?.resolve([Buffer.from(result)]);
  }

  async started(path: string): Promise<void> {
    const end = performance.now() + 5_000;
    while (!this.walking.has(path)) {
      assert.ok(performance.now() < end, `${path} is not walked`);
      await turn();
    }
  }

  #perform([operation]: readonly Operation[]): Promise<readonly Buffer[]> {
    assert.ok(operation?.op === "diskUsage");
    const walk = Promise.withResolvers<readonly Buffer[]>();
    this.walking.set(operation.path, walk);
    this.most = Math.max(this.most, this.walking.size);
    return walk.promise;
  }
}

const trees = (...ids: string[]): readonly DiskTree[] => ids.map((id) => ({ id, path: `/${id}` }));

describe("walks through writable layers", () => {
  it("go on two at a time, round after round, and give each result its time", async () => {
    const disk = new FakeDisk();
    using walks = disk.walks;
    walks.start(() => trees("a", "b", "c"));
    assert.equal(walks.of("a"), undefined);
    await disk.started("/b");
    disk.end("/a", "4096 2");
    await disk.started("/c");
    disk.end("/b", "8192 3");
    disk.end("/c", "1 1");
    await disk.started("/a");
    assert.deepEqual(walks.of("a"), { at, bytes: 4096, inodes: 2 });
    assert.deepEqual(walks.total(), { bytes: 12_289, inodes: 6 });
    assert.equal(disk.most, 2);
  });

  it("forget what is gone, without a word, and tell once of what cannot be measured", async () => {
    const disk = new FakeDisk();
    using walks = disk.walks;
    let wanted = trees("a", "b");
    walks.start(() => wanted);
    await disk.started("/b");
    disk.end("/a", Object.assign(new Error("gone"), { code: "ENOENT" }));
    disk.end("/b", new Error("broken"));
    await disk.started("/b");
    disk.end("/a", "1 1");
    disk.end("/b", new Error("broken"));
    wanted = trees("c");
    await disk.started("/c");
    assert.deepEqual(disk.reports, ["b: a writable layer cannot be measured"]);
    assert.equal(walks.of("a"), undefined);
    assert.deepEqual(walks.total(), { bytes: 0, inodes: 0 });
  });

  it("keep the last result of what takes too long, with its age", async () => {
    const disk = new FakeDisk();
    using walks = disk.walks;
    walks.start(() => trees("a"));
    await disk.started("/a");
    disk.end("/a", "4096 2");
    await disk.started("/a");
    disk.end("/a", Object.assign(new Error("too long"), { code: "ETIMEDOUT" }));
    await disk.started("/a");
    assert.deepEqual(walks.of("a"), { at, bytes: 4096, inodes: 2 });
    assert.deepEqual(disk.reports, ["a: a writable layer cannot be measured"]);
    disk.end("/a", new Error("broken"));
    await disk.started("/a");
    assert.equal(walks.of("a"), undefined);
  });

  it("do not begin anew after the end", async () => {
    const disk = new FakeDisk();
    disk.walks.start(() => trees("a", "b", "c"));
    await disk.started("/b");
    disk.walks[Symbol.dispose]();
    disk.end("/a", "1 1");
    disk.end("/b", "1 1");
    for (let i = 0; i < 20; i++) await turn();
    assert.equal(disk.walking.size, 0);
  });
});

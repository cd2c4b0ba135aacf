import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { filesystems } from "./filesystem-usage.ts";

const places = { root: "/r", layers: "/r/layers", containers: "/r/containers" };
const layers = { bytes: 100, inodes: 10 };
const written = { bytes: 5, inodes: 2 };
const now = Temporal.Instant.fromEpochMilliseconds(7);

describe("what ImageFsInfo tells", () => {
  it("is one entry with everything when images and writable layers share a file system", () => {
    const { images, containers } = filesystems({ ...places, isOne: true }, layers, written, now);
    assert.deepEqual(images, { timestamp: now, mountpoint: "/r", usedBytes: 105, inodesUsed: 12 });
    assert.deepEqual(containers, images);
  });

  it("is an entry for each when they do not", () => {
    const { images, containers } = filesystems({ ...places, isOne: false }, layers, written, now);
    assert.deepEqual(images, { timestamp: now, mountpoint: "/r/layers", usedBytes: 100, inodesUsed: 10 });
    assert.deepEqual(containers, { timestamp: now, mountpoint: "/r/containers", usedBytes: 5, inodesUsed: 2 });
  });
});

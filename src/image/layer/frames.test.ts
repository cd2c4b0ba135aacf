import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { decodeResult, FrameEncoder } from "./frames.ts";

interface Golden {
  readonly frames: readonly { readonly name: string; readonly hex: string }[];
  readonly result: string;
}

const golden: Golden = JSON.parse(
  readFileSync(join(import.meta.dirname, "../../../native/test/unpack-golden.json"), "utf8"),
);

function meta(mode: number, uid: number, gid: number, mtimeSeconds: number, mtimeNanoseconds: number) {
  return { mode, uid, gid, mtimeSeconds, mtimeNanoseconds };
}

/** The conversation of unpack-golden.json, said with the encoder. */
function speak(encoder: FrameEncoder): void {
  encoder.begin();
  encoder.directory("", meta(0o755, 0, 0, 1_000_000_000, 500_000_000));
  encoder.directory("etc", meta(0o1777, 1, 2, -2, 750_000_000));
  encoder.file("etc/app", meta(0o4755, 1000, 1000, 1_700_000_000, 1), 10);
  encoder.data(0, Buffer.from("abc"));
  encoder.data(7, Buffer.from("xyz"));
  encoder.xattr("user.note", Buffer.from("n\0te"));
  encoder.symlink("etc/link", "/abs", meta(0o777, 3, 4, 5, 0));
  encoder.hardlink("etc/hard", "etc/app");
  encoder.node("etc/null", meta(0o666, 0, 0, 6, 0), "character", 1, 3);
  encoder.node("etc/pipe", meta(0o600, 0, 0, 7, 0), "fifo", 0, 0);
  encoder.whiteout("usr/gone");
  encoder.opaque("var");
  encoder.times("etc", -2, 750_000_000);
  encoder.end();
}

describe("frames", () => {
  it("are the golden bytes, whatever the slab size", () => {
    const expected = golden.frames.map(({ hex }) => hex).join("");
    for (const slabBytes of [128, 1000, 256 * 1024]) {
      const slabs: Buffer[] = [];
      speak(new FrameEncoder((slab) => slabs.push(slab), slabBytes));
      assert.equal(Buffer.concat(slabs).toString("hex"), expected);
    }
  });

  it("cut data that is longer than a frame", () => {
    const slabs: Buffer[] = [];
    const encoder = new FrameEncoder((slab) => slabs.push(slab));
    const bytes = Buffer.alloc(300_000, 7);
    encoder.data(5, bytes);
    encoder.flush();
    const sent = Buffer.concat(slabs);
    let at = 0;
    let offset = 5;
    while (at < sent.length) {
      const length = sent.readUInt32LE(at);
      assert.ok(length <= 262_144);
      assert.equal(sent.readBigUInt64LE(at + 8), BigInt(offset));
      offset += length - 8;
      at += 8 + length;
    }
    assert.equal(offset, 300_005);
  });

  it("come back as a RESULT, whole or not yet", () => {
    const bytes = Buffer.from(golden.result, "hex");
    for (let length = 0; length < bytes.length; length++)
      assert.equal(decodeResult(bytes.subarray(0, length)), undefined);
    assert.deepEqual(decodeResult(bytes), { errno: 20, bytes: 4096, inodes: 3, frames: 7, path: "a/b" });
    assert.throws(() => decodeResult(Buffer.alloc(40)), TypeError);
  });
});

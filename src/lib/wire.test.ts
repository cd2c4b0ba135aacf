import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { encodeFrame, FRAME_MAX, FrameReader, PayloadReader, PayloadWriter, WireError } from "./wire.ts";

describe("FrameReader", () => {
  it("gives the same frames however the stream is cut", () => {
    const stream = Buffer.concat([
      encodeFrame(1, 7n, Buffer.from("hello")),
      encodeFrame(0x8001, 7n, Buffer.alloc(0), true),
      encodeFrame(2, 2n ** 63n, Buffer.alloc(70_000, 1)),
    ]);
    const whole = new FrameReader().push(stream);
    for (const size of [1, 3, 16, 17, 4096]) {
      const reader = new FrameReader();
      const frames = [];
      for (let at = 0; at < stream.length; at += size) frames.push(...reader.push(stream.subarray(at, at + size)));
      assert.deepEqual(frames, whole, `cut every ${size} bytes`);
    }
    assert.deepEqual(
      whole.map(({ type, isError, seq }) => ({ type, isError, seq })),
      [
        { type: 1, isError: false, seq: 7n },
        { type: 0x8001, isError: true, seq: 7n },
        { type: 2, isError: false, seq: 2n ** 63n },
      ],
    );
  });

  it("refuses a frame that is longer than any may be, before it is read", () => {
    const head = Buffer.alloc(16);
    head.writeUInt32LE(FRAME_MAX + 1, 0);
    assert.throws(() => new FrameReader().push(head), WireError);
  });
});

describe("payloads", () => {
  it("read back what was written", () => {
    const bytes = new PayloadWriter().u8(1).u16(2).u32(3).i32(-4).u64(5n).str("é").strings(["a", ""]).done();
    const r = new PayloadReader(bytes);
    assert.deepEqual(
      [r.u8(), r.u16(), r.u32(), r.i32(), r.u64(), r.str(), r.list((x) => x.str())],
      [1, 2, 3, -4, 5n, "é", ["a", ""]],
    );
  });

  it("throw their own error for any prefix of a payload, and nothing else", () => {
    const bytes = new PayloadWriter().strings(["one", "two"]).u64(1n).done();
    for (let length = 0; length < bytes.length; length++) {
      const r = new PayloadReader(bytes.subarray(0, length));
      assert.throws(() => [r.list((x) => x.str()), r.u64()], WireError);
    }
  });

  it("refuse a text with a NUL", () => {
    assert.throws(() => new PayloadWriter().str("a\0b"), WireError);
  });
});

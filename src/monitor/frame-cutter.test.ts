import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeFrame, PayloadWriter, WireError } from "../lib/wire.ts";
import { FrameCutter } from "./frame-cutter.ts";
import { EVENT, MESSAGE } from "./protocol.ts";

const output = (stream: number, text: string) =>
  encodeFrame(EVENT.execOutput, 7n, new PayloadWriter().u8(stream).bytes(Buffer.from(text)).done());

const whole = Buffer.concat([
  encodeFrame(MESSAGE.execStream | 0x8000, 7n, Buffer.alloc(0)),
  output(1, "first"),
  output(2, ""),
  output(2, "second"),
  encodeFrame(MESSAGE.attach | 0x8000, 8n, Buffer.from("why"), true),
  encodeFrame(EVENT.execExit, 7n, Buffer.from("end")),
]);

/** What comes of pieces, with the output of one stream put together again. */
function cut(pieces: readonly Buffer[]): string[] {
  const heard: string[] = [];
  let last = "";
  const cutter = new FrameCutter({
    onOutput: (stream, data) => {
      if (stream === last) heard.push(`${heard.pop() ?? ""}${data.toString()}`);
      else heard.push(`${stream} ${data.toString()}`);
      last = stream;
    },
    onFrame: ({ type, isError, seq, payload }) => {
      last = "";
      heard.push(`${type.toString(16)} ${isError} ${seq} ${payload.toString()}`);
    },
  });
  for (const piece of pieces) cutter.push(piece);
  return heard;
}

test("frames are the same however the stream is cut", () => {
  const expected = ["8312 false 7 ", "stdout first", "stderr second", "8310 true 8 why", "4306 false 7 end"];
  assert.deepEqual(cut([whole]), expected);
  assert.deepEqual(cut(Array.from(whole, (byte) => Buffer.of(byte))), expected);
  for (let at = 0; at <= whole.length; at++)
    assert.deepEqual(cut([whole.subarray(0, at), whole.subarray(at)]), expected);
});

test("output is let through before its frame is whole, and not copied", () => {
  const frame = output(1, "0123456789");
  const heard: Buffer[] = [];
  const cutter = new FrameCutter({ onOutput: (_, data) => heard.push(data), onFrame: () => assert.fail("no frame") });
  const begin = frame.subarray(0, 24);
  cutter.push(begin);
  assert.equal(heard[0]?.toString(), "012");
  assert.equal(heard[0]?.buffer, begin.buffer);
});

test("what is no stream of frames is refused", () => {
  const huge = Buffer.alloc(16, 0xff);
  assert.throws(() => cut([huge]), WireError);
  const lying = output(1, "text");
  lying.writeUInt32LE(3, 17);
  assert.throws(() => cut([lying]), WireError);
});

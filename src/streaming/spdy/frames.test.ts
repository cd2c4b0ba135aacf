import assert from "node:assert/strict";
import { it } from "node:test";
import { inflateSync } from "node:zlib";
import { FrameParser } from "./frame-parser.ts";
import { dataHeader, FLAG_FIN, goAway, ping, rstStream, synReply } from "./frames.ts";
import { SpdyError } from "./spdy-error.ts";

/** What a parser tells about these bytes; data that was cut is put together again. */
function events(chunks: readonly Buffer[]): unknown[] {
  const seen: unknown[] = [];
  let data = Buffer.alloc(0);
  const parser = new FrameParser({
    controlFrame: (type, flags, payload) => seen.push({ type, flags, payload: payload.toString("hex") }),
    streamData: (streamId, piece, isLast) => {
      data = Buffer.concat([data, piece]);
      if (isLast) seen.push({ streamId, data: data.toString() });
      if (isLast) data = Buffer.alloc(0);
    },
  });
  for (const chunk of chunks) parser.push(chunk);
  return seen;
}

/** As Go's client writes them. */
const golden =
  "800300060000000400000001" + // ping 1
  "0000000101000002" + // two bytes of stream 1, its last
  "6869" +
  "0000000301000000" + // the end of stream 3
  "80030003000000080000000300000005" + // reset of stream 3: cancel
  "80030007000000080000000300000000"; // goodbye

const expected = [
  { type: 6, flags: 0, payload: "00000001" },
  { streamId: 1, data: "hi" },
  { streamId: 3, data: "" },
  { type: 3, flags: 0, payload: "0000000300000005" },
  { type: 7, flags: 0, payload: "0000000300000000" },
];

it("writes frames as they stand in SPDY/3.1", () => {
  assert.equal(ping(1).toString("hex"), "800300060000000400000001");
  assert.equal(rstStream(3, 5).toString("hex"), "80030003000000080000000300000005");
  assert.equal(goAway(3, 0).toString("hex"), "80030007000000080000000300000000");
  assert.equal(dataHeader(1, 2, FLAG_FIN).toString("hex"), "0000000101000002");
  assert.equal(dataHeader(0x7fff_ffff, 0xff_ffff, 0).toString("hex"), "7fffffff00ffffff");
});

it("accepts streams with replies that are together one zlib stream", () => {
  const [first, second] = [synReply(1, true), synReply(3, false)];
  assert.equal(
    first.toString("hex"),
    "80030002000000140000000178010004 00fbff 00000000 000000ffff".replaceAll(" ", ""),
  );
  assert.equal(second.subarray(0, 12).toString("hex"), "800300020000001200000003");
  const zlib = Buffer.concat([first.subarray(12), second.subarray(12), Buffer.from([3, 0, 0, 0, 0, 0])]);
  // The end of the stream, and the checksum of eight zeros.
  zlib.writeUInt32BE(0x0008_0001, zlib.length - 4);
  assert.deepEqual(inflateSync(zlib), Buffer.alloc(8));
});

it("reads the same frames however they were cut", () => {
  const bytes = Buffer.from(golden, "hex");
  assert.deepEqual(events([bytes]), expected);
  assert.deepEqual(events(Array.from(bytes, (byte) => Buffer.from([byte]))), expected);
  for (let first = 0; first <= bytes.length; first += 1) {
    for (let second = first; second <= bytes.length; second += 1) {
      const chunks = [bytes.subarray(0, first), bytes.subarray(first, second), bytes.subarray(second)];
      assert.deepEqual(events(chunks), expected);
    }
  }
});

it("says the end of a stream only with the last piece of its last frame", () => {
  const pieces: [string, boolean][] = [];
  const parser = new FrameParser({
    controlFrame: () => {},
    streamData: (_id, piece, isLast) => pieces.push([piece.toString(), isLast]),
  });
  parser.push(Buffer.concat([dataHeader(1, 4, FLAG_FIN), Buffer.from("ab")]));
  parser.push(Buffer.from("cd"));
  assert.deepEqual(pieces, [
    ["ab", false],
    ["cd", true],
  ]);
});

for (const [what, hex] of [
  ["another version", "8002000600000004"],
  ["a control frame beyond all bounds", "8003000100ffffff"],
  ["data of no stream", "0000000000000001"],
] as const) {
  it(`refuses ${what}`, () => assert.throws(() => events([Buffer.from(hex, "hex")]), SpdyError));
}

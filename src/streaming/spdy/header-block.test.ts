import assert from "node:assert/strict";
import { it } from "node:test";
import { constants, createDeflate, type Deflate, deflateSync } from "node:zlib";
import { DICTIONARY_ID, dictionary } from "./dictionary.ts";
import { HeaderInflater } from "./header-block.ts";
import { SpdyError } from "./spdy-error.ts";

function block(headers: readonly (readonly [string, string])[]): Buffer {
  const text = (value: string) => [uint32(Buffer.byteLength(value)), Buffer.from(value)];
  return Buffer.concat([
    uint32(headers.length),
    ...headers.flatMap(([name, value]) => [...text(name), ...text(value)]),
  ]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function deflated(deflate: Deflate, text: Buffer): Promise<Buffer> {
  const { promise, resolve } = Promise.withResolvers<Buffer>();
  const chunks: Buffer[] = [];
  deflate.removeAllListeners("data").on("data", (chunk: Buffer) => void chunks.push(chunk));
  deflate.write(text);
  deflate.flush(constants.Z_SYNC_FLUSH, () => resolve(Buffer.concat(chunks)));
  return promise;
}

/** A whole stream of one block: what a client sends first. */
const first = (text: Buffer) => deflateSync(text, { dictionary, finishFlush: constants.Z_SYNC_FLUSH });

it("knows the dictionary of SPDY/3 by its checksum", () => {
  let [a, b] = [1, 0];
  for (const byte of dictionary) {
    a = (a + byte) % 65_521;
    b = (b + a) % 65_521;
  }
  assert.equal((b * 0x1_0000 + a) >>> 0, DICTIONARY_ID);
  assert.equal(dictionary.length, 1_423);
});

it("reads what Go's client sends for its first streams", () => {
  const inflater = new HeaderInflater();
  const sent = ["78f9e3c6a7c26260606004a7b392a2d4c45c6851c29a0a0a6800000000ffff", "c22ac5565c92925f5a02000000ffff"];
  const read = sent.map((bytes) => [...inflater.inflate(Buffer.from(bytes, "hex"))]);
  assert.deepEqual(read, [[["streamtype", "error"]], [["streamtype", "stdout"]]]);
});

for (const options of [{ dictionary }, {}, { level: 0 }, { dictionary, level: 9 }]) {
  it(`reads one zlib stream block by block, beyond its window (${Object.keys(options)})`, async () => {
    const deflate = createDeflate(options);
    const inflater = new HeaderInflater();
    for (let index = 0; index < 400; index += 1) {
      const sent = [["port", String(index)] as const, ["requestid", `${index % 7}`.repeat(index)] as const];
      const read = inflater.inflate(await deflated(deflate, block(sent)));
      assert.deepEqual([...read], sent);
    }
    deflate.close();
  });
}

it("takes the first of several values, and names in any case", () => {
  const headers = new HeaderInflater().inflate(first(block([["Port", "80\u00008080"]])));
  assert.deepEqual([...headers], [["port", "80"]]);
});

const refusedBlocks: readonly (readonly [string, Buffer])[] = [
  ["what is no zlib stream", Buffer.from("hello, world")],
  ["nothing", Buffer.alloc(0)],
  ["another dictionary", deflateSync("x", { dictionary: Buffer.from("other"), finishFlush: constants.Z_SYNC_FLUSH })],
  ["a block without a sync flush", deflateSync(block([]), { dictionary })],
  ["a bomb", first(Buffer.alloc(10 << 20))],
  ["more headers than it holds", first(uint32(3))],
  ["a header count that fills the memory", first(uint32(0xffff_ffff))],
  ["a name that fills the memory", first(Buffer.concat([uint32(1), uint32(0xffff_fff0), Buffer.from("port")]))],
  ["too many headers", first(block(Array.from({ length: 65 }, (_, index) => [`${index}`, ""])))],
  [
    "a name that is there twice",
    first(
      block([
        ["port", "1"],
        ["PORT", "2"],
      ]),
    ),
  ],
  ["a header without a name", first(block([["", "1"]]))],
  [
    "bytes that do not inflate",
    Buffer.concat([Buffer.from("78bbe3c6a7c2ffffff", "hex"), Buffer.from([0, 0, 255, 255])]),
  ],
];

for (const [what, bytes] of refusedBlocks) {
  it(`refuses ${what}`, () => assert.throws(() => new HeaderInflater().inflate(bytes), SpdyError));
}

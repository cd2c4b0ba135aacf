import assert from "node:assert/strict";
import { it } from "node:test";
import { dataHeader, FLAG_FIN, goAway, ping, rstStream } from "./frames.ts";
import { MemoryTransport } from "./memory-transport.fixture.ts";
import { SpdyConnection } from "./spdy-connection.ts";
import type { SpdyStream } from "./spdy-stream.ts";
import { synStream } from "./syn-stream.fixture.ts";

/** Go's frames for two streams: error, then stdout. */
const synStreams = [
  "80030001000000290000000100000000000078f9e3c6a7c26260606004a7b392a2d4c45c6851c29a0a0a6800000000ffff",
  "800300010000001900000003000000000000c22ac5565c92925f5a02000000ffff",
].map((hex) => Buffer.from(hex, "hex"));

const firstReply = "80030002000000140000000178010004 00fbff00000000000000ffff".replace(" ", "");
const secondReply = "8003000200000012000000030004 00fbff00000000000000ffff".replace(" ", "");

function setUp(isWanted: (type: string) => boolean = () => true) {
  const transport = new MemoryTransport();
  const streams: SpdyStream[] = [];
  const gone: Error[] = [];
  const connection = new SpdyConnection(transport, {
    accept: (_id, headers) =>
      isWanted(headers.get("streamtype") ?? "") ? (stream) => void streams.push(stream) : undefined,
    gone: (reason) => void gone.push(reason),
  });
  return { transport, streams, gone, connection };
}

function opened() {
  const all = setUp();
  for (const frame of synStreams) all.connection.data(frame);
  all.transport.hex();
  const [first, second] = all.streams;
  if (first === undefined || second === undefined) throw new Error("no streams");
  return { ...all, first, second };
}

const data = (id: number, text: string, flags = 0) =>
  Buffer.concat([dataHeader(id, text.length, flags), Buffer.from(text)]);

it("replies to each stream before anything is said on it", async () => {
  const { transport, streams, connection } = setUp();
  connection.data(Buffer.concat(synStreams));
  await streams[1]?.write(Buffer.from("out"));
  assert.equal(transport.hex(), `${firstReply}${secondReply}00000003000000036f7574`);
});

it("resets a stream that nobody wants, and understands the next one", () => {
  const { transport, streams, connection } = setUp((type) => type === "stdout");
  for (const frame of synStreams) connection.data(frame);
  assert.equal(streams.length, 1);
  const [reset, reply] = [rstStream(1, 3).toString("hex"), transport.hex()];
  assert.ok(reply.startsWith(reset) && reply.length > reset.length);
});

it("answers a client's pings in their order, and not the answers to its own", () => {
  const { transport, connection } = setUp();
  connection.data(Buffer.concat([ping(1), ping(2), ping(5), ping(3)]));
  assert.equal(transport.hex(), Buffer.concat([ping(1), ping(5), ping(3)]).toString("hex"));
});

it("ends each side of a stream by itself", async () => {
  const { transport, connection, first } = opened();
  connection.data(data(1, "in", FLAG_FIN));
  assert.deepEqual(await first.input.next(), { done: false, value: Buffer.from("in") });
  assert.equal((await first.input.next()).done, true);
  await first.write(Buffer.from("out"));
  first.end();
  await first.write(Buffer.from("late"));
  assert.equal(transport.hex(), data(1, "out").toString("hex") + data(1, "", FLAG_FIN).toString("hex"));
});

it("says nothing more on a stream that the client has reset", async () => {
  const { transport, connection, first, second } = opened();
  connection.data(Buffer.concat([data(1, "in"), rstStream(1, 5), data(1, "late")]));
  assert.equal((await first.input.next()).done, true);
  await first.write(Buffer.from("out"));
  first.end();
  first.reset(1);
  assert.equal(transport.hex(), "");
  await second.write(Buffer.from("x"));
  assert.equal(transport.hex(), data(3, "x").toString("hex"));
});

it("resets a stream on which data follows its end, and one that was never opened", () => {
  const { transport, connection } = opened();
  connection.data(Buffer.concat([data(1, "", FLAG_FIN), data(1, "more"), data(9, "x")]));
  assert.equal(transport.hex(), rstStream(1, 9).toString("hex") + rstStream(9, 2).toString("hex"));
});

it("resets a stream that was never opened once, in however many pieces its data comes", () => {
  const { connection, transport } = opened();
  for (const byte of data(9, "data in pieces")) connection.data(Buffer.from([byte]));
  assert.equal(transport.hex(), rstStream(9, 2).toString("hex"));
});

it("passes over SETTINGS, WINDOW_UPDATE and what it does not know", () => {
  const { transport, connection, gone } = opened();
  const ignored = ["8003000400000004 00000000", "8003000900000008 0000000100010000", "80030063000000010a"];
  for (const hex of ignored) connection.data(Buffer.from(hex.replace(" ", ""), "hex"));
  assert.equal(transport.hex(), "");
  assert.deepEqual(gone, []);
});

it("takes no new streams after the client's goodbye, and goes on with those that are", async () => {
  const { transport, streams, connection } = setUp();
  connection.data(synStreams[0] ?? Buffer.alloc(0));
  connection.data(goAway(0, 0));
  transport.hex();
  connection.data(synStreams[1] ?? Buffer.alloc(0));
  assert.equal(transport.hex(), rstStream(3, 3).toString("hex"));
  await streams[0]?.write(Buffer.from("x"));
  assert.equal(transport.hex(), data(1, "x").toString("hex"));
});

it("tells a client that breaks the protocol, and its acceptor once", async () => {
  for (const broken of [
    "8002000600000004",
    "80030001000000020000",
    "80030006000000020000",
    "8003000200000004 00000001",
  ]) {
    const { transport, connection, gone, first } = opened();
    const waiting = first.input.next();
    connection.data(Buffer.from(broken.replace(" ", ""), "hex"));
    connection.data(Buffer.from(broken, "latin1"));
    connection.gone(new Error("again"));
    assert.deepEqual(
      gone.map(({ name }) => name),
      ["SpdyError"],
    );
    assert.equal(transport.hex(), goAway(3, 1).toString("hex"));
    assert.equal(transport.state, "ended");
    assert.equal((await waiting).done, true);
  }
});

it("refuses numbers of streams that do not rise or are even", () => {
  for (const id of [1, 2, 3]) {
    const { connection, gone } = opened();
    const again = Buffer.from(synStreams[1] ?? "");
    again.writeUInt32BE(id, 8);
    connection.data(again);
    assert.equal(gone.length, 1, `stream ${id}`);
  }
});

it("is not read while a stream holds a mebibyte, and again when half of that was taken", async () => {
  const { transport, connection, first } = opened();
  const block = "x".repeat(64 * 1024);
  for (let sent = 0; sent < 15; sent += 1) connection.data(data(1, block));
  assert.equal(transport.isPaused, false);
  connection.data(Buffer.concat([data(1, block), ping(1)]));
  assert.equal(transport.isPaused, true);
  assert.equal(transport.hex(), ping(1).toString("hex"), "what was read with it is answered");
  for (let taken = 0; taken < 7; taken += 1) await first.input.next();
  assert.equal(transport.isPaused, true);
  await first.input.next();
  assert.equal(transport.isPaused, false);
});

it("counts what bytes cost and not what they are: tiny frames fill a stream no slower than its memory", () => {
  const { transport, connection } = opened();
  const before = process.memoryUsage().arrayBuffers;
  const frames = Buffer.concat(Array.from({ length: 7_000 }, () => data(1, "x")));
  let bytes = 0;
  while (!transport.isPaused) {
    connection.data(Buffer.from(frames));
    bytes += 7_000;
  }
  assert.ok(bytes <= 1.1 * 1024 * 1024 && bytes > 900_000, `${bytes} bytes were taken`);
  assert.ok(process.memoryUsage().arrayBuffers - before < 64 << 20);
  connection.close();
});

it("is not read while the client takes no answers", async () => {
  const { transport, connection } = setUp();
  transport.isStalled = true;
  const pings = Buffer.concat(Array.from({ length: 5_000 }, () => ping(1)));
  let pushes = 0;
  for (; !transport.isPaused; pushes += 1) connection.data(pings);
  assert.ok(pushes < 12, `${pushes * 5_000} pings were answered`);
  transport.take();
  await Promise.resolve();
  await Promise.resolve();
  assert.equal(transport.isPaused, false);
  connection.close();
});

it("holds at most 256 streams", () => {
  const { transport, connection, streams } = setUp();
  for (let count = 0; count < 256; count += 1) connection.data(synStream(2 * count + 1, {}, count === 0));
  assert.equal(streams.length, 256);
  transport.hex();
  connection.data(synStream(601, {}));
  assert.equal(transport.hex(), rstStream(601, 3).toString("hex"));
});

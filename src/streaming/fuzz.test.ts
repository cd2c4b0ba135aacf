import assert from "node:assert/strict";
import type { Writable } from "node:stream";
import { it } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import * as library from "ws";
import { cut, Dice, mutated } from "../lib/mutation.fixture.ts";
import { dataHeader, goAway, ping, rstStream } from "./spdy/frames.ts";
import { MemoryTransport } from "./spdy/memory-transport.fixture.ts";
import { commandProtocols, SpdyCommand } from "./spdy/spdy-command.ts";
import { SpdyConnection, type StreamAcceptor } from "./spdy/spdy-connection.ts";
import { SpdyPortForward } from "./spdy/spdy-port-forward.ts";
import { synStream, words } from "./spdy/syn-stream.fixture.ts";
import { commandChannels, portForwardChannels } from "./websocket/channel-protocol.ts";
import { WebSocketCommand } from "./websocket/websocket-command.ts";
import { WebSocketPortForward } from "./websocket/websocket-port-forward.ts";

/** How many inputs each parser gets. A failure names the one that failed; the same number alone is `NACELLE_FUZZ_FIRST`. */
const inputs = Number(process.env.NACELLE_FUZZ_STREAMS ?? 200_000);
const first = Number(process.env.NACELLE_FUZZ_FIRST ?? 0);

const everything = { stdin: true, stdout: true, stderr: true, tty: true };

/** As a client's library sends them: the first two are those of Go. */
const conversations: readonly [Buffer[], ...Buffer[][]] = [
  [
    Buffer.from(
      "80030001000000290000000100000000000078f9e3c6a7c26260606004a7b392a2d4c45c6851c29a0a0a6800000000ffff",
      "hex",
    ),
    Buffer.from("800300010000001900000003000000000000c22ac5565c92925f5a02000000ffff", "hex"),
    data(3, "x".repeat(300)),
    ping(1),
  ],
  [
    ...["error", "stdin", "stdout", "stderr", "resize"].map((streamtype, index) =>
      synStream(2 * index + 1, { streamtype }, index === 0),
    ),
    data(9, '{"Width":80,"Height":24}'),
    data(3, "hello\n"),
    ping(1),
    data(3, "", 1),
    goAway(0, 0),
  ],
  [
    synStream(1, { streamtype: "error", port: "80", requestid: "0" }, true),
    synStream(3, { streamtype: "data", port: "80", requestid: "0" }),
    data(3, "GET / HTTP/1.0\r\n\r\n"),
    synStream(5, { streamtype: "error", port: "81" }, false, 1),
    rstStream(3, 5),
    synStream(7, { streamtype: "data", port: "81" }),
    Buffer.concat([words(0x8003_0004, 4), words(0)]),
    Buffer.concat([words(0x8003_0009, 8), words(3, 65_536)]),
    data(7, "", 1),
  ],
];

function data(id: number, text: string, flags = 0): Buffer {
  return Buffer.concat([dataHeader(id, text.length, flags), Buffer.from(text)]);
}

/** Whatever it is fed, a connection neither throws nor says more than it was asked, and ends everything at its end. */
function spdy(dice: Dice): void {
  const transport = new MemoryTransport();
  transport.isStalled = dice.roll(2) === 0;
  const life = new AbortController();
  let left = 0;
  const gone = () => {
    left += 1;
  };
  const connection = new SpdyConnection(transport, acceptor(dice, life.signal, gone));
  const bytes = dice.roll(8) === 0 ? dice.bytes(dice.roll(400)) : mutated(dice.pick(conversations), dice);
  for (const chunk of cut(bytes, dice)) connection.data(Buffer.from(chunk));
  const said = transport.written.reduce((sum, { length }) => sum + length, 0);
  assert.ok(said <= 64 + 4 * bytes.length, `${said} bytes were said to ${bytes.length}`);
  assert.equal(left, transport.state === "open" ? 0 : 1);
  connection.close();
  life.abort();
  assert.equal(transport.state, "ended");
}

function acceptor(dice: Dice, signal: AbortSignal, gone: (reason: Error) => void): StreamAcceptor {
  if (dice.roll(2) === 0) return new SpdyCommand(everything, commandProtocols[dice.roll(4)] ?? "", gone);
  const dial = () => Promise.reject(new Error("nobody listens"));
  return new SpdyPortForward({ dial, creationMs: 60_000, gone }, signal);
}

/** Messages of any content reach channels or nothing. */
function channels(dice: Dice): void {
  const transport = Object.assign(new MemoryTransport(), { ping: () => {} });
  const protocols = dice.roll(2) === 0 ? commandChannels : portForwardChannels;
  const names = Object.keys(protocols);
  const protocol = protocols[names[dice.roll(names.length)] ?? ""] ?? assert.fail("no protocol");
  const isCommand = protocols === commandChannels;
  const receiver = isCommand
    ? new WebSocketCommand(transport, everything, protocol, () => {})
    : new WebSocketPortForward(transport, [80, 81], protocol, () => {});
  for (let count = dice.roll(6); count >= 0; count -= 1) {
    const head = Buffer.from([dice.pick([0, 1, 2, 4, 9, 255, 0x30, 0x32, 0x34])]);
    const body = dice.roll(2) === 0 ? Buffer.from('{"Width":80,"Height":24}') : dice.bytes(dice.roll(30));
    receiver.data(mutated([head, body], dice));
  }
  assert.equal(transport.written.length, 0);
  receiver.gone(new Error("the end"));
}

/** Frames of a client's, masked or not, whole or in pieces. */
function clientFrame(dice: Dice, payload: Buffer): Buffer {
  const opcode = dice.pick([2, 2, 2, 1, 0, 8, 9, 10]);
  const first = opcode | (dice.roll(5) === 0 ? 0 : 0x80);
  if (dice.roll(16) === 0) return Buffer.concat([Buffer.from([first, payload.length & 0x7f]), payload]);
  // A mask of zeros is as good as any.
  return Buffer.concat([Buffer.from([first, 0x80 | (payload.length & 0x7f), 0, 0, 0, 0]), payload]);
}

/** Exported, though not in its types. */
const { Receiver } = library as unknown as { readonly Receiver: new (options: object) => Writable };

/** The library's parser with our limits, and what it lets through, in our channels. */
function webSocket(dice: Dice): void {
  const transport = Object.assign(new MemoryTransport(), { ping: () => {} });
  const command = new WebSocketCommand(
    transport,
    everything,
    commandChannels["v5.channel.k8s.io"] ?? assert.fail(),
    () => {},
  );
  const options = { isServer: true, maxPayload: 4096, skipUTF8Validation: true, allowSynchronousEvents: true };
  const receiver = new Receiver(options);
  receiver.on("message", (data: Buffer) => command.data(data));
  receiver.on("error", () => {});
  const frames = Array.from({ length: 1 + dice.roll(4) }, () =>
    clientFrame(dice, Buffer.concat([Buffer.from([dice.pick([0, 4, 255])]), dice.bytes(dice.roll(20))])),
  );
  const bytes = dice.roll(8) === 0 ? dice.bytes(dice.roll(200)) : mutated(frames as [Buffer, ...Buffer[]], dice);
  for (const chunk of cut(bytes, dice)) if (!receiver.destroyed) receiver.write(Buffer.from(chunk));
  receiver.destroy();
  command.gone(new Error("the end"));
}

/** What is held is what is left after that. */
function collect(): void {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
}

for (const [what, feed] of Object.entries({
  SPDY: spdy,
  "a WebSocket": (dice: Dice) => (dice.roll(2) === 0 ? channels(dice) : webSocket(dice)),
})) {
  it(`${what} takes ${inputs} hostile inputs without a crash, and holds nothing of them`, async () => {
    const before = process.memoryUsage();
    for (let index = first; index < first + inputs; index += 1) {
      try {
        feed(new Dice(index));
      } catch (error) {
        throw new Error(`input ${index}`, { cause: error });
      }
      // What was promised meanwhile happens now and then, as between two turns of a server.
      if (index % 256 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    collect();
    const after = process.memoryUsage();
    assert.ok(after.arrayBuffers - before.arrayBuffers < 64 << 20, `${after.arrayBuffers} bytes of buffers are held`);
    assert.ok(after.rss - before.rss < 256 << 20, `${after.rss} bytes are held`);
  });
}

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import { after, test } from "node:test";
import { patience } from "../../conformance/harness/patience.ts";
import { encodeFrame } from "../../src/lib/wire.ts";
import { encodeHello, encodeId, MESSAGE } from "../../src/monitor/protocol.ts";
import {
  encodeAttach,
  encodeDial,
  encodeExecStream,
  encodeInput,
  encodeResize,
} from "../../src/monitor/stream-protocol.ts";
import {
  type Bundle,
  collect,
  exec,
  Node,
  noMoreOpen,
  openFds,
  remove,
  run,
  type Sandbox,
  streamRequest,
} from "./monitor-fixture.ts";
import { gone } from "./processes.ts";

const node = new Node();
after(() => node[Symbol.asyncDispose]());

/** Deterministic, so that a failure can be had again. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const MARKER = "91020";

/** What a client may send, by kind of session, each with what follows its request. */
function conversations(b: Bundle, port: number): readonly Buffer[][] {
  const speak = ["sh", "-c", `yes | head -c 3000000; cat; sleep ${MARKER}`];
  const stream = (terminal: boolean) =>
    encodeFrame(MESSAGE.execStream, 2n, encodeExecStream(b.id, streamRequest(b, speak, { terminal })));
  const follow = [
    encodeFrame(MESSAGE.input, 3n, encodeInput(Buffer.alloc(100_000, "in\n"))),
    encodeFrame(MESSAGE.resize, 4n, encodeResize(80, 24)),
    encodeFrame(MESSAGE.stdinClose, 5n, Buffer.alloc(0)),
    encodeFrame(MESSAGE.input, 6n, encodeInput(Buffer.alloc(200_000))),
  ];
  const attach = encodeFrame(MESSAGE.attach, 2n, encodeAttach(b.id, { stdin: true, stdout: true, stderr: true }));
  const dial = encodeFrame(MESSAGE.netConnect, 2n, encodeDial({ netns: "", port, deadlineMs: 3000 }));
  return [
    [stream(false), ...follow],
    [stream(true), ...follow],
    [attach, ...follow],
    [dial, Buffer.alloc(300_000)],
    follow,
    [attach, stream(false), dial],
  ];
}

/** Sends so much of it, and leaves after so much was heard, or at once. */
async function speak(s: Sandbox, bytes: Buffer, listenTo: number): Promise<void> {
  const socket = createConnection(s.place.socketPath);
  const closed = new Promise((resolve) => socket.on("error", () => undefined).once("close", resolve));
  let heard = 0;
  socket.on("data", (chunk: Buffer) => {
    heard += chunk.length;
    if (heard > listenTo) socket.destroy();
  });
  socket.write(encodeFrame(MESSAGE.hello, 1n, encodeHello(1n, "data")));
  if (listenTo < 0) socket.end(bytes);
  else socket.write(bytes);
  await closed;
}

async function nothingLeft(s: Sandbox, fds: number): Promise<void> {
  await gone(MARKER);
  await noMoreOpen(s, fds);
  assert.equal(openFds(s), fds);
  assert.deepEqual(
    readdirSync(s.place.dir).filter((f) => f.startsWith(".")),
    [],
  );
}

test("clients that leave at any point leave nothing behind", { timeout: patience(120_000) }, async () => {
  using s = await node.sandbox();
  const { server, port } = await echo();
  const talk = ["sh", "-c", "while :; do seq 1 2000; sleep 0.01; done & cat"];
  const b = await run(s, "crun", "c1", talk, {}, { stdin: true, logPath: "" });
  await s.monitor.snapshot();
  const fds = openFds(s);
  const next = random(11);
  const kinds = conversations(b, port);
  for (let i = 0; i < 100; i++) {
    const whole = Buffer.concat(kinds[next(kinds.length)] ?? []);
    const bytes = next(3) === 0 ? whole.subarray(0, next(whole.length)) : whole;
    // Those who say nothing that is answered could wait for ever: they end their half.
    await speak(s, bytes, bytes === whole && whole.readUInt16LE(4) !== MESSAGE.input ? next(60_000) : -1);
  }
  await nothingLeft(s, fds);
  const [container] = await s.monitor.snapshot();
  assert.equal(container?.state, "running");
  await remove(s, b);
  server.close();
});

test("mutated frames of streams close their own connection at most", { timeout: patience(120_000) }, async () => {
  using s = await node.sandbox();
  const { server, port } = await echo();
  const b = await run(s, "crun", "c1", ["sleep", "1000"], {}, { stdin: true });
  await s.monitor.snapshot();
  const fds = openFds(s);
  const next = random(23);
  const harmless = { ...streamRequest(b, ["true"]), argv: ["/bin/false", "@console", "@process"] };
  const request = encodeFrame(MESSAGE.execStream, 2n, encodeExecStream(b.id, harmless));
  const frames = [request, ...conversations(b, port).slice(2).flat(), encodeFrame(MESSAGE.attach, 2n, encodeId("c1"))];
  for (let i = 0; i < 1500; i++) {
    const parts = Array.from({ length: 1 + next(3) }, () => {
      const frame = Buffer.from(frames[next(frames.length)] ?? request);
      // Not the type: a mutated one might be SIGNAL or RUNTIME. Of what is long, the beginning.
      for (let n = 0; n < 4; n++) {
        const at = next(Math.min(frame.length, 64));
        if (at !== 4 && at !== 5 && next(2) === 0) frame[at] = next(2) === 0 ? next(256) : 0xff;
      }
      return frame;
    });
    await speak(s, Buffer.concat(parts), -1);
  }
  await nothingLeft(s, fds);
  using session = await exec(s, b, ["echo", "well"]);
  assert.equal((await collect(session)).stdout, "well\n");
  await remove(s, b);
  server.close();
});

async function echo() {
  const server = createServer((socket) => socket.on("error", () => undefined).pipe(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  return { server, port: address.port };
}

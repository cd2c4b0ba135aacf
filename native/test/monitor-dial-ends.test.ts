import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createConnection, createServer, type Socket } from "node:net";
import { after, test } from "node:test";
import { setImmediate as setTurn } from "node:timers";
import { setImmediate } from "node:timers/promises";
import { patience } from "../../conformance/harness/patience.ts";
import { encodeFrame, FrameReader, REPLY } from "../../src/lib/wire.ts";
import { nextSeq } from "../../src/monitor/connection.ts";
import { encodeHello, MESSAGE } from "../../src/monitor/protocol.ts";
import { encodeDial } from "../../src/monitor/stream-protocol.ts";
import { Node, noMoreOpen, openFds, type Sandbox } from "./monitor-fixture.ts";

const node = new Node();
after(() => node[Symbol.asyncDispose]());

const PIECE = Buffer.alloc(16 << 10, "x");

/** A server whose next connection is given as it is: nothing of it is read. All of its connections end with it. */
async function listening() {
  const { promise: next, resolve: accept } = Promise.withResolvers<Socket>();
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    sockets.push(socket);
    accept(socket);
  });
  const { promise: listens, resolve } = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", resolve);
  await listens;
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  const dispose = () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return { server, port: address.port, next, [Symbol.dispose]: dispose };
}

function dial(s: Sandbox, port: number): Promise<Socket> {
  return s.monitor.dial({ netns: "", port, deadlineMs: 5000 }, new AbortController().signal);
}

/** What the kernel holds of the connection to `port`: not yet taken by the server's peer, and not yet read by that one. */
function queues(port: number): { unsent: number; unread: number } {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  const rows = readFileSync("/proc/net/tcp", "utf8").split("\n");
  const found = rows.map((row) => row.trim().split(/[\s:]+/)).filter((row) => row[5] === "01");
  const server = found.find((row) => row[2] === hex);
  const peer = found.find((row) => row[4] === hex);
  return { unsent: Number.parseInt(server?.[6] ?? "0", 16), unread: Number.parseInt(peer?.[7] ?? "0", 16) };
}

/** Says so much to a client that reads nothing that its monitor leaves some of it to the kernel. */
async function sayTooMuch(port: number, server: Socket): Promise<number> {
  let said = 0;
  while (queues(port).unread < 2 * PIECE.length) {
    server.write(PIECE);
    said += PIECE.length;
    while (queues(port).unsent > 0) await setImmediate();
  }
  return said;
}

async function bytesOf(socket: Socket): Promise<number> {
  let bytes = 0;
  for await (const chunk of socket) bytes += chunk.length;
  return bytes;
}

test("a server that answers, and breaks off before it has heard all, is heard to the end", {
  timeout: patience(30_000),
}, async () => {
  using s = await node.sandbox();
  using listener = await listening();
  const { port, next } = listener;
  const socket = await dial(s, port);
  socket.write("a question that is too long");
  const accepted = await next;
  const said = await sayTooMuch(port, accepted);
  accepted.destroy(); // with the question unread: a reset
  socket.write("the rest of it");
  await s.monitor.snapshot();
  assert.equal(await bytesOf(socket), said);
});

test("a client that leaves before it has read an echo has said what it said", {
  timeout: patience(60_000),
}, async () => {
  using s = await node.sandbox();
  using listener = await listening();
  const { port, next } = listener;
  const before = openFds(s);
  const socket = await dial(s, port);
  const accepted = await next;
  let heard = 0;
  accepted.on("data", ({ length }) => (heard += length)).pipe(accepted);
  let [taken, said] = [0, 0];
  while (socket.writableLength < 4 << 20) {
    socket.write(PIECE, (error) => {
      if (!error) taken += PIECE.length;
    });
    said += PIECE.length;
    await s.monitor.snapshot();
  }
  const ended = new Promise((resolve) => accepted.once("end", resolve));
  socket.destroy();
  await ended;
  assert.ok(taken > 1 << 20 && heard >= taken && heard < said, `${heard} of ${taken}`);
  while (openFds(s) > before) await s.monitor.snapshot();
});

test("a client that leaves while a server speaks has said what it said", { timeout: patience(60_000) }, async () => {
  using s = await node.sandbox();
  using listener = await listening();
  const { server, port } = listener;
  const before = openFds(s);
  for (let round = 0; round < 50; round++) {
    const accepted = new Promise<Socket>((resolve) => server.once("connection", resolve));
    const socket = await dial(s, port);
    const peer = await accepted;
    // Never more than once a turn: a client that takes all at once would leave it no time to listen.
    const speak = () => {
      if (peer.writableEnded || peer.destroyed) return;
      if (peer.write(PIECE)) setTurn(speak);
    };
    let heard = 0;
    const ended = new Promise((resolve) => peer.once("end", resolve));
    peer.on("data", ({ length }) => (heard += length)).on("end", () => peer.end());
    peer.on("drain", speak).resume();
    speak();
    await new Promise((resolve) => socket.once("data", resolve));
    socket.write(Buffer.alloc(100_000), () => socket.destroy());
    await ended;
    assert.equal(heard, 100_000, `round ${round}`);
  }
  while (openFds(s) > before) await s.monitor.snapshot();
});

test("a server that never stops speaking is left some time after its client", {
  timeout: patience(60_000),
}, async () => {
  using s = await node.sandbox();
  using listener = await listening();
  const { port, next } = listener;
  const before = openFds(s);
  const socket = await dial(s, port);
  const accepted = (await next).on("error", () => undefined);
  const closed = new Promise((resolve) => accepted.once("close", resolve));
  let said = 0;
  const speak = () => {
    do said += PIECE.length;
    while (!accepted.destroyed && accepted.write(PIECE));
  };
  accepted.on("drain", speak).resume();
  speak();
  await new Promise((resolve) => socket.once("data", resolve));
  socket.destroy();
  await noMoreOpen(s, before);
  await closed;
  assert.ok(said > 64 << 20, `it had said ${said} bytes`);
});

test("a monitor that is sent SIGTERM ends when a client has taken all that a server said", {
  timeout: patience(30_000),
}, async () => {
  using s = await node.sandbox();
  using listener = await listening();
  const { port, next } = listener;
  const socket = await dial(s, port);
  const accepted = await next;
  const said = await sayTooMuch(port, accepted);
  process.kill(s.place.pid, "SIGTERM");
  await s.monitor.snapshot();
  accepted.end();
  assert.equal(await bytesOf(socket), said);
  await s.lost;
});

test("what follows a request for a port that nobody listens at is nobody's", {
  timeout: patience(30_000),
}, async () => {
  using s = await node.sandbox();
  using listener = await listening();
  const { port } = listener;
  await new Promise((resolve) => listener.server.close(resolve));
  for (const netns of ["", "/nonexistent"]) {
    const client = createConnection(s.place.socketPath);
    const frames = [
      encodeFrame(MESSAGE.hello, nextSeq(), encodeHello(1n, "data")),
      encodeFrame(MESSAGE.netConnect, nextSeq(), encodeDial({ netns, port, deadlineMs: 5000 })),
      encodeFrame(MESSAGE.snapshot, nextSeq(), Buffer.alloc(0)),
    ];
    client.write(Buffer.concat(frames));
    const reader = new FrameReader();
    const answers: number[] = [];
    client.on("data", (chunk: Buffer) => answers.push(...reader.push(chunk).map(({ type }) => type & ~REPLY)));
    await new Promise((resolve) => client.on("error", () => undefined).once("close", resolve));
    assert.deepEqual(answers, [MESSAGE.hello, MESSAGE.netConnect]);
  }
});

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createServer, type Server, type Socket } from "node:net";
import { after, test } from "node:test";
import { patience } from "../../conformance/harness/patience.ts";
import { MonitorError } from "../../src/monitor/monitor-error.ts";
import { Node, noMoreOpen, openFds, type Sandbox } from "./monitor-fixture.ts";

const node = new Node();
after(() => node[Symbol.asyncDispose]());

const never = new AbortController().signal;

async function listen(host: string, serve: (socket: Socket) => void): Promise<{ server: Server; port: number }> {
  const server = createServer({ allowHalfOpen: true }, serve);
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, host, resolve);
  await promise;
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  return { server, port: address.port };
}

function dial(s: Sandbox, port: number, netns = ""): Promise<Socket> {
  return s.monitor.dial({ netns, port, deadlineMs: 5000 }, never);
}

/** What comes up to the end; the other half stays open, which it does not after `for await`. */
function all(socket: Socket): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.on("end", () => resolve(Buffer.concat(chunks))).on("error", reject);
  return promise;
}

test("both directions carry what they are given, and end one by one", { timeout: patience(30_000) }, async () => {
  using s = await node.sandbox();
  const { server, port } = await listen("127.0.0.1", (socket) => {
    const said: Buffer[] = [];
    socket.write("welcome ");
    socket.on("data", (chunk: Buffer) => said.push(chunk));
    socket.on("end", () => socket.end(Buffer.concat([...said, Buffer.from(" and goodbye")])));
  });
  const before = openFds(s);
  for (let i = 0; i < 20; i++) {
    const socket = await dial(s, port);
    socket.end("hello"); // our half: the answer comes after it
    assert.equal((await all(socket)).toString(), "welcome hello and goodbye");
  }
  await noMoreOpen(s, before);
  server.close();
});

test("a server that ends first can still be sent to", { timeout: patience(30_000) }, async () => {
  using s = await node.sandbox();
  const heard = Promise.withResolvers<Buffer>();
  const { server, port } = await listen("127.0.0.1", (socket) => {
    socket.end("bye");
    void all(socket).then(heard.resolve, heard.reject);
  });
  const socket = await dial(s, port);
  assert.equal((await all(socket)).toString(), "bye");
  socket.end("thanks");
  assert.equal((await heard.promise).toString(), "thanks");
  server.close();
});

test("a hundred megabytes each way at once arrive whole", { timeout: patience(120_000) }, async () => {
  using s = await node.sandbox();
  const { server, port } = await listen("127.0.0.1", (socket) => socket.pipe(socket));
  const socket = await dial(s, port);
  const piece = Buffer.alloc(1 << 20);
  for (let i = 0; i < piece.length; i++) piece[i] = (i * 31) & 0xff;
  let bytes = 0;
  const reading = (async () => {
    for await (const chunk of socket) {
      const { length } = chunk;
      const from = bytes % piece.length;
      if (from + length <= piece.length) assert.ok(piece.subarray(from, from + length).equals(chunk));
      bytes += length;
    }
  })();
  for (let i = 0; i < 100; i++) if (!socket.write(piece)) await new Promise((resolve) => socket.once("drain", resolve));
  socket.end();
  await reading;
  assert.equal(bytes, 100 << 20);
  server.close();
});

test("who does not read is not sent more than fits", { timeout: patience(30_000) }, async () => {
  using s = await node.sandbox();
  let accepted: Socket | undefined;
  const { server, port } = await listen("127.0.0.1", (socket) => {
    accepted = socket.pause();
  });
  const socket = await dial(s, port);
  let written = 0;
  const piece = Buffer.alloc(1 << 20);
  while (socket.write(piece) || socket.writableLength < 8 << 20) {
    written += 1;
    await s.monitor.snapshot();
    assert.ok(written < 100, "100 MiB were taken for a server that reads nothing");
  }
  socket.destroy();
  accepted?.destroy();
  server.close();
});

test("a port that nobody listens at is refused with the errno; so is a namespace that is not there", async () => {
  using s = await node.sandbox();
  const before = openFds(s);
  const { server, port } = await listen("127.0.0.1", () => undefined);
  await new Promise((resolve) => server.close(resolve));
  for (let i = 0; i < 50; i++) {
    await assert.rejects(dial(s, port), (error) => {
      assert.ok(error instanceof MonitorError);
      assert.deepEqual([error.monitorCode, error.errno, error.what], ["SYSCALL", 111, "connect"]);
      assert.equal(error.path, `127.0.0.1:${port} and [::1]:${port}`);
      return true;
    });
    await assert.rejects(dial(s, port, "/nonexistent"), (error) => {
      assert.ok(error instanceof MonitorError);
      assert.deepEqual([error.monitorCode, error.errno, error.what], ["SYSCALL", 2, "netns"]);
      return true;
    });
    await assert.rejects(dial(s, 0), (error) => error instanceof MonitorError && error.monitorCode === "MALFORMED");
  }
  await noMoreOpen(s, before);
  assert.equal(openFds(s), before);
});

test("a connection goes through the namespace that is named, to ::1 where 127.0.0.1 refuses", async () => {
  using s = await node.sandbox();
  const program = `require("node:net").createServer((c) => c.end("inside")).listen(4242, "::1", () => console.log("up"))`;
  const command = `ip link set lo up && exec ${process.execPath} -e '${program}'`;
  const child = spawn("unshare", ["--net", "sh", "-c", command], { stdio: ["ignore", "pipe", "inherit"] });
  await up(child);
  assert.equal((await all(await dial(s, 4242, `/proc/${child.pid}/ns/net`))).toString(), "inside");
  await assert.rejects(dial(s, 4242), (error) => error instanceof MonitorError && error.errno === 111);
  child.kill("SIGKILL");
});

test("when a client leaves in the middle nothing of it stays", { timeout: patience(30_000) }, async () => {
  using s = await node.sandbox();
  const closed: Promise<unknown>[] = [];
  const { server, port } = await listen("127.0.0.1", (socket) => {
    socket.on("error", () => undefined).on("end", () => socket.end());
    socket.resume().write(Buffer.alloc(300_000));
    closed.push(new Promise((resolve) => socket.once("close", resolve)));
  });
  const before = openFds(s);
  for (let i = 0; i < 50; i++) {
    const socket = await dial(s, port);
    if (i % 3 > 0) socket.write(Buffer.alloc(i * 10_000));
    if (i % 2 > 0) await new Promise((resolve) => socket.once("data", resolve));
    socket.destroy();
  }
  await noMoreOpen(s, before);
  await Promise.all(closed);
  server.close();
});

async function up(child: ChildProcess): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  child.stdout?.once("data", () => resolve());
  child.once("exit", (code) => reject(new Error(`the server exited with ${code}`)));
  await promise;
}

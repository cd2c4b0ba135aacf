import assert from "node:assert/strict";
import { channel } from "node:diagnostics_channel";
import { once } from "node:events";
import type { Socket } from "node:net";
import { it } from "node:test";
import { type ClientStream, SpdyClient } from "../../conformance/harness/spdy-client.ts";
import { cat } from "./runtime.fixture.ts";
import { exec, type ServerUnderTest, start, until } from "./streaming-server.fixture.ts";

const v4 = ["v4.channel.k8s.io"];

async function command(
  { server }: ServerUnderTest,
  streams: readonly ("stdin" | "stdout" | "stderr" | "tty")[],
  protocols = v4,
) {
  const client = await SpdyClient.connect(server.url(exec(...streams)), protocols);
  const open: Record<string, ClientStream> = {};
  const names = ["error", ...streams].map((name) => (name === "tty" ? "resize" : name));
  for (const streamtype of names) open[streamtype] = await client.open({ streamtype });
  const stream = (name: string) => open[name] ?? assert.fail(`no stream ${name}`);
  return { client, stream };
}

it("carries input and output, then tells success, then ends", async () => {
  await using node = await start(cat);
  const { client, stream } = await command(node, ["stdin", "stdout"]);
  await stream("stdin").write("hello");
  stream("stdin").end();
  assert.equal(await stream("stdout").text(), "hello");
  assert.equal(await stream("error").text(), '{"metadata":{},"status":"Success"}');
  await client.closed;
  assert.equal(client.goAway, 0);
  assert.equal(node.runtime.session.disposals, 1);
});

it("tells an exit code after the end of both outputs", async () => {
  await using node = await start((session) => {
    session.print("out");
    session.print("err", "stderr");
    session.exit(7);
  });
  const { stream } = await command(node, ["stdout", "stderr"]);
  const order: string[] = [];
  for (const name of ["stdout", "stderr", "error"]) void stream(name).ended.then(() => order.push(name));
  const status = JSON.parse(await stream("error").text());
  assert.deepEqual(status, {
    metadata: {},
    status: "Failure",
    message: "command terminated with non-zero exit code: exit status 7",
    reason: "NonZeroExitCode",
    details: { causes: [{ reason: "ExitCode", message: "7" }] },
  });
  assert.equal(await stream("stdout").text(), "out");
  assert.equal(await stream("stderr").text(), "err");
  assert.deepEqual(order, ["stdout", "stderr", "error"]);
});

for (const protocol of ["v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"]) {
  it(`tells a failure as plain text with ${protocol}, and success by nothing`, async () => {
    await using node = await start((session) => session.exit(session.request.stderr ? 1 : 0));
    const failing = await command(node, ["stdout", "stderr"], [protocol]);
    assert.match(await failing.stream("error").text(), /^command terminated with non-zero exit code: exit status 1$/);
    const passing = await command(node, ["stdout"], [protocol]);
    assert.equal(await passing.stream("error").text(), "");
  });
}

it("tells why a command could not be run", async () => {
  await using node = await start((session) => session.fail("no such file"));
  const { stream } = await command(node, ["stdout"]);
  const { reason, message, code } = JSON.parse(await stream("error").text());
  assert.deepEqual([reason, code], ["InternalError", 500]);
  assert.match(message, /error executing command in container: no such file/);
});

it("passes on sizes at once, also the one that came before the process", async () => {
  await using node = await start();
  const { stream } = await command(node, ["tty", "stdout"]);
  await stream("resize").write('{"Width":80,"Height":24}{"Width":1');
  await stream("resize").write('32,"Height":50}\n');
  const { session } = node.runtime;
  await until(() => session.sizes.length === 2);
  assert.deepEqual(session.sizes, [
    { width: 80, height: 24 },
    { width: 132, height: 50 },
  ]);
});

it("disposes of the session when the client goes without a word", async () => {
  await using node = await start();
  const { client } = await command(node, ["stdin", "stdout"]);
  await until(() => node.runtime.sessions.length === 1);
  client.destroy();
  await node.runtime.session.disposal.promise;
  assert.equal(node.runtime.session.disposals, 1);
});

it("does not read a client whose input nobody takes, and answers its pings before that", async () => {
  const gate = Promise.withResolvers<void>();
  await using node = await start((session) => {
    session.onInput = () => gate.promise;
    void session.inputEnded.promise.then(() => session.exit(0));
  });
  const { client, stream } = await command(node, ["stdin", "tty", "stdout"]);
  const block = Buffer.alloc(64 * 1024, "x");
  for (let sent = 0; sent < 15; sent += 1) await stream("stdin").write(block);
  await client.ping();
  await stream("resize").write('{"Width":80,"Height":24}');
  await until(() => node.runtime.session.sizes.length === 1);
  let written = 0;
  const flood = (async () => {
    for (; written < 2_048; written += 1) await stream("stdin").write(block);
    stream("stdin").end();
  })();
  assert.equal(node.runtime.session.inputs.length, 1, "the process takes one piece and no more");
  gate.resolve();
  await flood;
  await stream("error").ended;
  const taken = node.runtime.session.inputs.reduce((sum, { length }) => sum + length, 0);
  assert.equal(taken, (15 + 2_048) * block.length);
});

it("slows the process down for a client that takes nothing", async () => {
  const chunk = Buffer.alloc(256 * 1024, "y");
  await using node = await start((session) => {
    for (let count = 0; count < 1_000; count += 1) session.print(chunk);
    session.exit(0);
  });
  const { client, stream } = await command(node, ["stdout"]);
  client.stall();
  const before = process.memoryUsage.rss();
  let last = -1;
  // Stands still: the kernel's buffers are full and nothing more is asked for.
  for (let same = 0; same < 20; ) {
    await new Promise((resolve) => setImmediate(resolve));
    same = node.runtime.session.taken === last ? same + 1 : 0;
    last = node.runtime.session.taken;
  }
  assert.ok(node.runtime.session.taken < 200, `${node.runtime.session.taken} chunks were taken`);
  assert.ok(process.memoryUsage.rss() - before < 100 << 20);
  let bytes = 0;
  stream("stdout").listen((data) => (bytes += data.length));
  client.resume();
  await stream("error").ended;
  assert.equal(bytes, 1_000 * chunk.length);
});

it("tells its clients when it stops, and ends their sessions", async () => {
  await using node = await start();
  const { client, stream } = await command(node, ["stdin", "stdout"]);
  await until(() => node.runtime.sessions.length === 1);
  await node.server[Symbol.asyncDispose]();
  assert.match(await stream("error").text(), /the runtime is stopping/);
  await client.closed;
  assert.equal(node.runtime.session.disposals, 1);
});

it("gives up on a client that does not open its streams", async () => {
  await using node = await start(undefined, { creationMs: 20 });
  const client = await SpdyClient.connect(node.server.url(exec("stdout", "stderr")), v4);
  await client.open({ streamtype: "stdout" });
  await client.closed;
  assert.equal(node.runtime.sessions.length, 0);
  assert.match(node.lines.join("\n"), /has not opened its streams: error, stderr/);
});

it("waits for the end of a client that it gave up on, which would lose its goodbye otherwise", async () => {
  const sockets: Socket[] = [];
  const remember = (message: unknown) => void sockets.push((message as { readonly socket: Socket }).socket);
  await using node = await start(undefined, { creationMs: 20 });
  const connections = channel("net.server.socket");
  connections.subscribe(remember);
  const client = await SpdyClient.connect(node.server.url(exec("stdout")), v4);
  connections.unsubscribe(remember);
  const [socket] = sockets;
  assert.ok(socket !== undefined && sockets.length === 1);
  let hasClientEnded = false;
  socket.on("end", () => (hasClientEnded = true));
  await once(socket, "close");
  await client.closed;
  assert.equal(client.goAway, 0);
  assert.ok(hasClientEnded);
});

it("refuses streams that were not asked for, and those that are there", async () => {
  await using node = await start();
  await using client = await SpdyClient.connect(node.server.url(exec("stdout")), v4);
  await client.open({ streamtype: "stdout" });
  for (const streamtype of ["stdout", "stdin", "nonsense", ""]) {
    await assert.rejects(client.open({ streamtype }), /was reset with status 3/);
  }
});

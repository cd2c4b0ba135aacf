import assert from "node:assert/strict";
import { it } from "node:test";
import { NotUpgraded } from "../../conformance/harness/upgraded.ts";
import { WebSocketClient } from "../../conformance/harness/websocket-client.ts";
import { cat } from "./runtime.fixture.ts";
import { exec, type ServerUnderTest, start, until } from "./streaming-server.fixture.ts";

type Streams = readonly ("stdin" | "stdout" | "stderr" | "tty")[];

/** A client and what it has received, by channel, as bytes whatever the encoding. */
async function command({ server }: ServerUnderTest, streams: Streams, ...protocols: readonly string[]) {
  const client = await WebSocketClient.connect(server.url(exec(...streams)), protocols);
  const isBase64 = client.protocol.includes("base64");
  const messages: [channel: number, text: string][] = [];
  client.receive((message) => {
    const rest = message.toString("latin1", 1);
    const channel = (message[0] ?? 0) - (isBase64 ? 0x30 : 0);
    messages.push([channel, isBase64 ? Buffer.from(rest, "base64").toString() : rest]);
  });
  const send = (channel: number, text: string) =>
    client.send(
      isBase64 ? `${channel}${Buffer.from(text).toString("base64")}` : Buffer.from(`\0${text}`).fill(channel, 0, 1),
    );
  const texts = (channel: number) => messages.filter(([one]) => one === channel).map(([, text]) => text);
  return { client, messages, send, texts };
}

const success = '{"metadata":{},"status":"Success"}';

for (const protocol of ["v4.channel.k8s.io", "v4.base64.channel.k8s.io", "v5.channel.k8s.io"]) {
  it(`greets, carries input and output and tells how it ended with ${protocol}`, async () => {
    await using node = await start((session) => {
      session.onInput = (data) => {
        session.print(data);
        session.exit(0);
      };
    });
    const { client, messages, send } = await command(node, ["stdin", "stdout"], protocol);
    assert.equal(client.protocol, protocol);
    await send(0, "hello");
    assert.equal(await client.closed, 1000);
    assert.deepEqual(messages, [
      [1, ""],
      [1, "hello"],
      [3, success],
    ]);
    assert.equal(node.runtime.session.disposals, 1);
  });
}

for (const protocols of [[], ["channel.k8s.io"], ["base64.channel.k8s.io"]]) {
  it(`tells failures as text and success by nothing with ${protocols[0] ?? "no protocol"}`, async () => {
    await using node = await start((session) => session.exit(session.request.stderr ? 3 : 0));
    const failing = await command(node, ["stderr"], ...protocols);
    assert.equal(failing.client.protocol, protocols[0] ?? "");
    await failing.client.closed;
    assert.deepEqual(failing.messages, [
      [2, ""],
      [3, "command terminated with non-zero exit code: exit status 3"],
    ]);
    const passing = await command(node, ["stdin"], ...protocols);
    await passing.client.closed;
    assert.deepEqual(passing.messages, [[3, ""]]);
  });
}

it("ends the input with v5's close message, and with no other version", async () => {
  await using node = await start(cat);
  const v5 = await command(node, ["stdin", "stdout"], "v5.channel.k8s.io");
  await v5.client.send(Buffer.from([255, 0]));
  await v5.client.closed;
  assert.deepEqual(v5.texts(3), [success]);
  const v4 = await command(node, ["stdin", "stdout"], "v4.channel.k8s.io");
  await v4.client.send(Buffer.from([255, 0]));
  await v4.send(0, "still open");
  await until(() => v4.texts(1).includes("still open"));
});

it("passes on sizes and passes over what belongs to no channel", async () => {
  await using node = await start();
  const { client, send } = await command(node, ["tty", "stdout"], "v4.channel.k8s.io");
  await client.send(Buffer.alloc(0));
  await send(9, "nothing");
  await send(0, "no input was asked for");
  await send(4, '{"Width":80,"Height":24}');
  await until(() => node.runtime.sessions[0]?.sizes.length === 1);
  assert.deepEqual(node.runtime.session.sizes, [{ width: 80, height: 24 }]);
  assert.equal(node.runtime.session.inputs.length, 0);
});

it("answers pings", async () => {
  await using node = await start();
  const { client } = await command(node, ["stdout"], "v5.channel.k8s.io");
  await client.ping();
  client.destroy();
});

it("disposes of the session when the client says goodbye, or goes without a word", async () => {
  await using node = await start();
  for (const leave of ["close", "destroy"] as const) {
    const { client } = await command(node, ["stdin", "stdout"], "v5.channel.k8s.io");
    await until(() => node.runtime.sessions.length > 0);
    client[leave]();
    await client.closed;
    const session = node.runtime.sessions.pop() ?? assert.fail("no session");
    await session.disposal.promise;
    assert.equal(session.disposals, 1);
  }
});

it("does not read a client whose input nobody takes", async () => {
  const gate = Promise.withResolvers<void>();
  await using node = await start((session) => {
    session.onInput = async (data) => {
      await gate.promise;
      if (data.includes("end")) session.exit(0);
    };
  });
  const { client, send, texts } = await command(node, ["stdin", "stdout"], "v5.channel.k8s.io");
  const flood = (async () => {
    for (let sent = 0; sent < 500; sent += 1) await send(0, "x".repeat(64 * 1024));
    await send(0, "end");
  })();
  await until(() => node.runtime.sessions[0]?.inputs.length === 1);
  gate.resolve();
  await flood;
  await client.closed;
  assert.deepEqual(texts(3), [success]);
  assert.equal(
    node.runtime.session.inputs.reduce((sum, { length }) => sum + length, 0),
    500 * 64 * 1024 + 3,
  );
});

it("slows the process down for a client that takes nothing", async () => {
  const chunk = Buffer.alloc(256 * 1024, "y");
  await using node = await start((session) => {
    for (let count = 0; count < 500; count += 1) session.print(chunk);
    session.exit(0);
  });
  const { client, messages } = await command(node, ["stdout"], "v5.channel.k8s.io");
  client.stall();
  let last = -1;
  // Stands still: the kernel's buffers are full and nothing more is asked for.
  for (let same = 0; same < 20; ) {
    await new Promise((resolve) => setImmediate(resolve));
    const taken = node.runtime.sessions[0]?.taken ?? 0;
    same = taken === last ? same + 1 : 0;
    last = taken;
  }
  assert.ok(node.runtime.session.taken < 200, `${node.runtime.session.taken} chunks were taken`);
  assert.ok(messages.length < 200);
  client.destroy();
  await node.runtime.session.disposal.promise;
});

it("ends the connection of a client whose message is too large", async () => {
  await using node = await start();
  const { client } = await command(node, ["stdin", "stdout"], "v5.channel.k8s.io");
  await client.send(Buffer.alloc(5 << 20));
  assert.equal(await client.closed, 1009);
  await node.runtime.session.disposal.promise;
});

it("refuses a client that offers only what is not served", async () => {
  await using node = await start();
  await assert.rejects(command(node, ["stdout"], "v9.channel.k8s.io"), (error) => {
    assert.ok(error instanceof NotUpgraded);
    assert.equal(error.answer.status, 403);
    assert.match(error.answer.body, /v5\.channel\.k8s\.io/);
    return true;
  });
});

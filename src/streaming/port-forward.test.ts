import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { it } from "node:test";
import { SpdyClient } from "../../conformance/harness/spdy-client.ts";
import { WebSocketClient } from "../../conformance/harness/websocket-client.ts";
import { listening } from "./pod.fixture.ts";
import { MemoryTransport } from "./spdy/memory-transport.fixture.ts";
import { portForward, start } from "./streaming-server.fixture.ts";
import { portForwardChannels } from "./websocket/channel-protocol.ts";
import { WebSocketPortForward } from "./websocket/websocket-port-forward.ts";

const protocols = ["portforward.k8s.io"];
const tunnelProtocol = "SPDY/3.1+portforward.k8s.io";

const echo = () => listening((socket) => void socket.pipe(socket));

async function pair(client: SpdyClient, port: number, requestid: string | undefined) {
  const headers = { port: String(port), ...(requestid === undefined ? {} : { requestid }) };
  const error = await client.open({ streamtype: "error", ...headers });
  const data = await client.open({ streamtype: "data", ...headers });
  error.end();
  return { error, data };
}

it("carries any number of connections over one, each half ending by itself", async () => {
  await using node = await start();
  using pod = await echo();
  await using client = await SpdyClient.connect(node.server.url(portForward), protocols);
  assert.equal(client.protocol, "portforward.k8s.io");
  const pairs = await Promise.all(["0", "1", "2"].map((id) => pair(client, pod.port, id)));
  for (const [index, { data }] of pairs.entries()) {
    await data.write(`hello ${index}`);
    data.end();
  }
  for (const [index, { data, error }] of pairs.entries()) {
    assert.equal(await data.text(), `hello ${index}`);
    assert.equal(await error.text(), "");
  }
});

it("pairs the streams of clients that name no request", async () => {
  await using node = await start();
  using pod = await echo();
  await using client = await SpdyClient.connect(node.server.url(portForward), protocols);
  const { data } = await pair(client, pod.port, undefined);
  await data.write("old");
  data.end();
  assert.equal(await data.text(), "old");
});

it("tells a port that nobody listens on to its own pair alone", async () => {
  await using node = await start();
  using pod = await echo();
  await using client = await SpdyClient.connect(node.server.url(portForward), protocols);
  const failing = await pair(client, 1, "0");
  assert.match(await failing.error.text(), /^error forwarding port 1: .*ECONNREFUSED/);
  await assert.rejects(failing.data.ended, /reset/);
  const passing = await pair(client, pod.port, "1");
  await passing.data.write("fine");
  passing.data.end();
  assert.equal(await passing.data.text(), "fine");
});

it("passes on a reset by the pod, and tells no error that would end the other connections", async () => {
  await using node = await start();
  using pod = await listening((socket) => void socket.on("data", () => socket.resetAndDestroy()));
  await using client = await SpdyClient.connect(node.server.url(portForward), protocols);
  const { data, error } = await pair(client, pod.port, "0");
  await data.write("x");
  await assert.rejects(data.ended, /reset/);
  assert.equal(await error.text(), "");
});

it("closes the connection into the pod when the client resets its stream or goes", async () => {
  await using node = await start();
  const sockets: Socket[] = [];
  const closed: Promise<unknown>[] = [];
  using pod = await listening((socket) => {
    sockets.push(socket);
    closed.push(once(socket.resume(), "close"));
    socket.on("end", () => socket.end());
  });
  await using client = await SpdyClient.connect(node.server.url(portForward), protocols);
  const first = await pair(client, pod.port, "0");
  await pair(client, pod.port, "1").then(({ data }) => data.write("x"));
  await first.data.write("y");
  first.data.reset();
  client.destroy();
  await client.closed;
  await Promise.all(closed);
});

it("gives a pod that has ended its side, and reads late, all that was received over a WebSocket before that", async (t) => {
  const accepted = Promise.withResolvers<Socket>();
  using pod = await listening((socket) => accepted.resolve(socket.pause()));
  const connection = connect({ port: pod.port, host: "127.0.0.1", allowHalfOpen: true });
  const protocol = portForwardChannels["v4.channel.k8s.io"] ?? assert.fail("no such protocol");
  const transport = Object.assign(new MemoryTransport(), { ping: () => {} });
  const forwards = new WebSocketPortForward(transport, [pod.port], protocol, () => {});
  const over = forwards.run(async () => connection, new AbortController().signal);
  const socket = await accepted.promise;
  t.after(() => {
    connection.destroy();
    socket.destroy();
  });
  let sent = 0;
  const receive = () => {
    sent += 64 << 10;
    forwards.data(Buffer.alloc(1 + (64 << 10)));
    return new Promise((resolve) => setImmediate(resolve));
  };
  // Until the kernel takes no more; and then some that node:net does not take either.
  while (connection.writableLength === 0) await receive();
  for (let more = 0; more < 8; more += 1) await receive();
  const ended = once(connection, "end");
  socket.end();
  await ended;
  let received = 0;
  socket.on("data", (data) => (received += data.length)).resume();
  await Promise.all([over, once(socket, "close")]);
  assert.equal(received, sent);
});

it("closes the connection into a pod that takes nothing when the client resets its stream after both have ended", async () => {
  await using node = await start();
  using pod = await listening((socket) => socket.pause().end());
  const connection = connect({ port: pod.port, host: "127.0.0.1", allowHalfOpen: true });
  await once(connection, "connect");
  node.runtime.dial = async () => connection;
  await using client = await SpdyClient.connect(node.server.url(portForward), protocols);
  const { data } = await pair(client, pod.port, "0");
  await data.ended;
  while (connection.writableLength === 0) {
    await data.write(Buffer.alloc(64 << 10));
    await client.ping();
  }
  data.end();
  await client.ping();
  data.reset();
  await once(connection, "close");
});

for (const when of ["while it is served", "before its pair is there"]) {
  it(`closes the connection into a pod that never stops writing when the client resets its stream ${when}`, async () => {
    await using node = await start();
    const accepted = Promise.withResolvers<void>();
    const closed = Promise.withResolvers<void>();
    using pod = await listening((socket) => {
      const write = () => {
        while (!socket.destroyed && socket.write(Buffer.alloc(64 << 10)));
      };
      socket.on("drain", write).on("close", () => closed.resolve());
      socket.resume();
      write();
      accepted.resolve();
    });
    await using client = await SpdyClient.connect(node.server.url(portForward), protocols);
    const headers = { port: String(pod.port), requestid: "0" };
    const data = await client.open({ streamtype: "data", ...headers });
    if (when === "before its pair is there") data.reset();
    const error = await client.open({ streamtype: "error", ...headers });
    await accepted.promise;
    data.reset();
    await closed.promise;
    assert.equal(await error.text(), "");
  });
}

it("resets a stream whose pair does not come, and refuses ports and types that are none", async () => {
  await using node = await start(undefined, { creationMs: 20 });
  await using client = await SpdyClient.connect(node.server.url(portForward), protocols);
  const lonely = await client.open({ streamtype: "data", port: "80", requestid: "0" });
  await assert.rejects(lonely.ended, /reset with status 1/);
  for (const headers of [
    { streamtype: "data", port: "0", requestid: "1" },
    { streamtype: "data", port: "65536", requestid: "1" },
    { streamtype: "data", port: "http", requestid: "1" },
    { streamtype: "stdin", port: "80", requestid: "1" },
    { streamtype: "data", requestid: "1" },
  ]) {
    await assert.rejects(client.open(headers), /reset with status 3/);
  }
});

it("tunnels a whole SPDY connection through a WebSocket", async () => {
  await using node = await start();
  using pod = await echo();
  const webSocket = await WebSocketClient.connect(node.server.url(portForward), [tunnelProtocol]);
  assert.equal(webSocket.protocol, tunnelProtocol);
  await using client = new SpdyClient(webSocket.tunnel());
  const { data, error } = await pair(client, pod.port, "0");
  const sent = Buffer.alloc(3 << 20, "z");
  let received = 0;
  data.listen((bytes) => (received += bytes.length));
  for (let at = 0; at < sent.length; at += 32 << 10) await data.write(sent.subarray(at, at + (32 << 10)));
  data.end();
  await data.ended;
  await error.ended;
  assert.equal(received, sent.length);
});

for (const protocol of ["v4.channel.k8s.io", "v4.base64.channel.k8s.io"]) {
  it(`gives each port of a WebSocket two channels with ${protocol}`, async () => {
    await using node = await start();
    using pod = await listening((socket) => void socket.on("data", (data) => socket.end(`got ${data.toString()}`)));
    const url = `${node.server.url(portForward)}?port=${pod.port}&port=1`;
    const client = await WebSocketClient.connect(url, [protocol]);
    const isBase64 = protocol.includes("base64");
    const messages: [number, Buffer][] = [];
    client.receive((message) => {
      const rest = message.subarray(1);
      const data = isBase64 ? Buffer.from(rest.toString(), "base64") : rest;
      messages.push([(message[0] ?? 0) - (isBase64 ? 0x30 : 0), Buffer.from(data)]);
    });
    await client.send(isBase64 ? `0${Buffer.from("you").toString("base64")}` : Buffer.from("\0you"));
    await client.closed;
    const little = (port: number) => Buffer.from([port & 0xff, port >> 8]);
    assert.deepEqual(
      messages.slice(0, 4),
      [0, 1, 2, 3].map((channel) => [channel, little(channel < 2 ? pod.port : 1)]),
    );
    const later = new Map(messages.slice(4).map(([channel, data]) => [channel, data.toString()]));
    assert.equal(later.get(0), "got you");
    assert.match(later.get(3) ?? "", /error forwarding port 1:/);
  });
}

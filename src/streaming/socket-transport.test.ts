import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { it } from "node:test";
import { fill } from "./fill.fixture.ts";
import { SocketTransport } from "./socket-transport.ts";
import { LINGER_MS } from "./transport.ts";

const receiver = { data: () => {}, gone: () => {} };

/** A transport and its client, which reads nothing yet. */
async function connected(idleMs: number) {
  const server = createServer({ allowHalfOpen: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const client = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  const [[socket]] = await Promise.all([once(server, "connection") as Promise<[Socket]>, once(client, "connect")]);
  server.close();
  const transport = new SocketTransport(socket, Buffer.alloc(0), idleMs);
  transport.start(receiver);
  const close = () => {
    client.destroy();
    socket.destroy();
  };
  return { transport, socket, client, [Symbol.dispose]: close };
}

it("gives a client all of it that takes little by little, however long that is", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  using both = await connected(60_000);
  const { transport, client } = both;
  const sent = await fill(transport);
  transport.write([Buffer.from("status")]);
  transport.end();
  const received: Buffer[] = [];
  client.pause();
  client.on("data", (data: Buffer) => {
    received.push(data);
    client.pause();
  });
  for (let piece = 0; piece < 3; piece += 1) {
    t.mock.timers.tick(LINGER_MS);
    client.resume();
    await once(client, "data");
  }
  assert.ok(transport.backlogBytes > 0, "the test is about what is still waiting");
  client.on("data", () => client.resume());
  client.resume();
  await once(client, "end");
  const all = Buffer.concat(received);
  assert.equal(all.subarray(sent).toString(), "status");
});

it("gives the rest to a client that has ended its own side since", async () => {
  using both = await connected(60_000);
  const { transport, socket, client } = both;
  const sent = await fill(transport);
  transport.end();
  client.end();
  await once(socket, "end");
  let received = 0;
  client.on("data", (data) => (received += data.length));
  await once(client, "end");
  assert.equal(received, sent);
});

it("leaves a client behind that takes nothing", async () => {
  using both = await connected(20);
  const { transport, socket } = both;
  await fill(transport);
  transport.end();
  await once(socket, "close");
  assert.ok(socket.destroyed);
});

it("leaves a client behind that was given all and does not end its side", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  using both = await connected(60_000);
  const { transport, socket, client } = both;
  transport.write([Buffer.from("all")]);
  transport.end();
  client.resume();
  await Promise.all([once(socket, "finish"), once(client, "end")]);
  t.mock.timers.tick(LINGER_MS - 1);
  assert.ok(!socket.destroyed);
  t.mock.timers.tick(1);
  assert.ok(socket.destroyed);
});

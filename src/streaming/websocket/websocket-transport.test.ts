import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { it } from "node:test";
import { WebSocketClient } from "../../../conformance/harness/websocket-client.ts";
import { fill } from "../fill.fixture.ts";
import { LINGER_MS } from "../transport.ts";
import { acceptWebSocket } from "./accept.ts";
import { WebSocketTransport } from "./websocket-transport.ts";

const receiver = { data: () => {}, gone: () => {} };

/** A transport and its client, which reads nothing yet. */
async function connected(idleMs: number) {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const upgrades = once(server, "upgrade") as Promise<[IncomingMessage, Socket, Buffer]>;
  const connecting = WebSocketClient.connect(`http://127.0.0.1:${port}/`, []);
  const [request, socket, head] = await upgrades;
  const transport = new WebSocketTransport(acceptWebSocket({ request, socket, head }, ""), socket, {
    isText: false,
    idleMs,
  });
  const client = await connecting;
  server.close();
  transport.start(receiver);
  const close = () => {
    client.destroy();
    socket.destroy();
  };
  return { transport, socket, client, [Symbol.dispose]: close };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

it("gives a client all of it that takes little by little, and says farewell after that", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  using both = await connected(60_000);
  const { transport, client } = both;
  const sent = await fill(transport);
  transport.write([Buffer.from("status")]);
  transport.end();
  let received = 0;
  let last = "";
  let wake = () => {};
  const link = client.tunnel();
  link.receive((message) => {
    received += message.length;
    last = message.toString();
    link.pause();
    wake();
  });
  for (let piece = 0; piece < 3; piece += 1) {
    t.mock.timers.tick(LINGER_MS);
    const taken = new Promise<void>((resolve) => (wake = resolve));
    link.resume();
    await taken;
  }
  assert.ok(transport.backlogBytes > 0, "the test is about what is still waiting");
  wake = () => link.resume();
  link.resume();
  assert.equal(await client.closed, 1000);
  assert.equal(received, sent + "status".length);
  assert.equal(last, "status");
});

it("leaves a client behind that takes nothing", async () => {
  using both = await connected(20);
  const { transport, socket } = both;
  await fill(transport);
  transport.end();
  await once(socket, "close");
  assert.ok(socket.destroyed);
});

it("leaves a client behind that was given all and does not say farewell", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  using both = await connected(60_000);
  const { transport, socket } = both;
  transport.write([Buffer.from("all")]);
  transport.end();
  await turn();
  t.mock.timers.tick(LINGER_MS - 1);
  assert.ok(!socket.destroyed);
  t.mock.timers.tick(1);
  assert.ok(socket.destroyed);
});

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { it } from "node:test";
import { forward } from "./forward.ts";
import { listening } from "./pod.fixture.ts";

it("gives a pod that has ended its side, and reads late, all that the client has sent", async () => {
  const reads = Promise.withResolvers<void>();
  const received = Promise.withResolvers<number>();
  using pod = await listening((socket) => {
    let bytes = 0;
    socket.end();
    socket.on("data", (data) => (bytes += data.length)).on("close", () => received.resolve(bytes));
    socket.pause();
    void reads.promise.then(() => socket.resume());
  });
  const connection = connect({ port: pod.port, host: "127.0.0.1", allowHalfOpen: true });
  await once(connection, "connect");
  const ended = Promise.withResolvers<void>();
  let sent = 0;
  async function* input() {
    await ended.promise;
    // Until the kernel takes no more, but node:net still does.
    while (connection.writableLength === 0) {
      sent += 8192;
      yield Buffer.alloc(8192);
    }
    setImmediate(reads.resolve);
  }
  const client = { input: input(), isInputOpen: true, write: async () => {}, end: ended.resolve };
  await forward(client, connection);
  assert.equal(await received.promise, sent);
});

/** A pod that has ended its side and never reads, and a client that has sent it more than the kernel takes. */
async function stuck(isInputOpen: boolean) {
  const pod = await listening((socket) => socket.pause().end());
  const connection = connect({ port: pod.port, host: "127.0.0.1", allowHalfOpen: true });
  await once(connection, "connect");
  const rest = Promise.withResolvers<void>();
  async function* input() {
    while (connection.writableLength === 0 && !connection.destroyed) yield Buffer.alloc(64 << 10);
    await rest.promise;
  }
  const client = { input: input(), isInputOpen, write: async () => {}, end: () => {} };
  const dispose = () => {
    rest.resolve();
    connection.destroy();
    pod[Symbol.dispose]();
  };
  return { client, connection, rest, [Symbol.dispose]: dispose };
}

it("gives up a pod that takes nothing for long when both have ended", async () => {
  using one = await stuck(false);
  one.rest.resolve();
  await forward(one.client, one.connection, 20);
  assert.ok(one.connection.destroyed);
});

it("does not give up a pod that takes nothing for long while its client may send more", async () => {
  using one = await stuck(true);
  const over = forward(one.client, one.connection, 20);
  await once(one.connection, "timeout");
  await once(one.connection, "timeout");
  assert.ok(!one.connection.destroyed);
  one.connection.destroy();
  one.rest.resolve();
  await over;
});

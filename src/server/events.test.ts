import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as http2, type IncomingHttpHeaders } from "node:http2";
import { createConnection } from "node:net";
import { describe, it } from "node:test";
import { type ClientReadableStream, type ServiceError, status } from "@grpc/grpc-js";
import type { EventFeed } from "../container/event-feed.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import type { ContainerEventResponse__Output } from "./generated/runtime/v1/ContainerEventResponse.ts";
import { type Connection, connect, FakeNode } from "./server.fixture.ts";

type Events = ClientReadableStream<ContainerEventResponse__Output>;

const metadata = { name: "p", uid: "u", namespace: "n" };

describe("GetContainerEvents", () => {
  it("tells every client of every event, each with the pod as it was when it happened", async () => {
    const node = new FakeNode();
    await using client = await connect(node);
    const [one, two] = [await listen(client), await listen(client)];
    const sandbox = await run(client, node);
    const { containerId } = await client.ask.CreateContainer({
      podSandboxId: sandbox.id,
      config: { metadata: { name: "c" }, image: { image: "busybox" } },
    });
    node.eventPort.emit("created", containerId, sandbox);
    await client.ask.StartContainer({ containerId });
    node.eventPort.emit("started", containerId, sandbox);
    node.containers.delete(containerId);
    node.eventPort.emit("deleted", containerId, { ...sandbox, state: { phase: "notReady", ...stopped } });
    for (const stream of [one, two]) {
      const events = await take(stream, 3);
      assert.deepEqual(
        events.map(({ containerEventType, podSandboxStatus, containersStatuses }) => [
          ...[containerEventType, podSandboxStatus?.state, podSandboxStatus?.metadata?.uid],
          containersStatuses.map(({ state }) => state).join(),
        ]),
        [
          ["CONTAINER_CREATED_EVENT", "SANDBOX_READY", "u", "CONTAINER_CREATED"],
          ["CONTAINER_STARTED_EVENT", "SANDBOX_READY", "u", "CONTAINER_RUNNING"],
          ["CONTAINER_DELETED_EVENT", "SANDBOX_NOTREADY", "u", ""],
        ],
      );
      assert.ok(events.every((event) => event.containerId === containerId));
      const stamps = events.map(({ createdAt }) => BigInt(createdAt));
      assert.ok(stamps.every((stamp, at) => at === 0 || stamp > (stamps[at - 1] ?? 0n)));
      stream.cancel();
    }
  });

  it("stamps a status by the clock of the events", async () => {
    const node = new FakeNode();
    await using client = await connect(node);
    const stream = await listen(client);
    const sandbox = await run(client, node);
    const before = await client.ask.PodSandboxStatus({ podSandboxId: sandbox.id });
    node.eventPort.emit("started", sandbox.id, sandbox);
    const after = await client.ask.PodSandboxStatus({ podSandboxId: sandbox.id });
    const [event] = await take(stream, 1);
    assert.ok(BigInt(before.timestamp) < BigInt(event?.createdAt ?? 0));
    assert.ok(BigInt(event?.createdAt ?? 0) < BigInt(after.timestamp));
    stream.cancel();
  });

  it("cuts a client that does not read, and no other", async () => {
    const node = new FakeNode();
    await using client = await connect(node);
    const quick = await listen(client);
    await using slow = await listenWithoutReading(client.socket);
    const sandbox = await run(client, node, { big: "x".repeat(1_000_000) });
    // What fits into both sides' buffers is taken first.
    for (let sent = 0; node.eventPort.subscribers === 2; sent += 1) {
      assert.ok(sent < 100, "never cut");
      const read = once(quick, "data");
      node.eventPort.emit("started", sandbox.id, sandbox);
      await read;
    }
    const { "grpc-status": code, "grpc-message": message } = await slow.readToEnd();
    assert.equal(code, String(status.RESOURCE_EXHAUSTED));
    assert.match(
      decodeURIComponent(String(message)),
      /^the client does not keep up: \d+ events wait for it; listen again, and list first$/,
    );
    assert.equal(node.eventPort.subscribers, 1);
    quick.cancel();
  });

  it("forgets a client that has gone away", async () => {
    const node = new FakeNode();
    await using client = await connect(node);
    const stream = await listen(client);
    assert.equal(node.eventPort.subscribers, 1);
    stream.cancel();
    await once(stream, "error");
    await until(node.eventPort, 0);
  });

  it("ends with UNAVAILABLE when the server stops, and refuses new clients, so that the server has not to wait", async () => {
    const node = new FakeNode();
    await using client = await connect(node, 60_000);
    const streams = [await listen(client), await listen(client)];
    const errors = Promise.all(streams.map((stream) => once(stream, "error")));
    node.eventPort[Symbol.dispose]();
    for (const [{ code, details }] of (await errors) as [ServiceError][]) {
      assert.equal(code, status.UNAVAILABLE);
      assert.match(details, /the server is stopping/);
    }
    const late = client.runtime.GetContainerEvents({});
    assert.equal(((await once(late, "error")) as [ServiceError])[0].code, status.UNAVAILABLE);
    await client.stopServer();
  });

  it("bounds how many listen", async () => {
    const node = new FakeNode();
    await using client = await connect(node);
    const streams = await Promise.all(Array.from({ length: 64 }, () => listen(client)));
    const late = client.runtime.GetContainerEvents({});
    assert.equal(((await once(late, "error")) as [ServiceError])[0].code, status.RESOURCE_EXHAUSTED);
    for (const stream of streams) stream.cancel();
    await until(node.eventPort, 0);
  });
});

const stopped = { reason: "Stopped", released: true } as const;

/** Resolves when the server has said that it serves: from then on every event is told. */
async function listen(client: Connection): Promise<Events> {
  const stream = client.runtime.GetContainerEvents({});
  stream.on("error", () => {});
  await once(stream, "metadata");
  return stream;
}

/** A client by HTTP/2 alone: that of grpc-js reads whether anybody takes what it has read or not. */
async function listenWithoutReading(socket: string) {
  const session = http2("http://localhost", { createConnection: () => createConnection(socket) });
  const path = "/runtime.v1.RuntimeService/GetContainerEvents";
  const stream = session.request({
    ...{ ":method": "POST", ":path": path },
    ...{ "content-type": "application/grpc", te: "trailers" },
  });
  stream.end(Buffer.alloc(5)); // an empty message: not compressed, no bytes
  await once(stream, "response");
  return {
    /** Takes all that was sent; resolves with the trailers. */
    readToEnd: async () => {
      const trailers = once(stream, "trailers");
      stream.resume();
      return ((await trailers) as [IncomingHttpHeaders])[0];
    },
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => session.close(resolve)),
  };
}

async function run(client: Connection, node: FakeNode, annotations = {}): Promise<Sandbox> {
  const { podSandboxId } = await client.ask.RunPodSandbox({ config: { metadata, annotations } });
  return node.sandboxPort.get(podSandboxId);
}

async function take(stream: Events, count: number): Promise<ContainerEventResponse__Output[]> {
  const events: ContainerEventResponse__Output[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  stream.on("error", reject);
  stream.on("data", (event: ContainerEventResponse__Output) => {
    if (events.push(event) === count) resolve();
  });
  await promise;
  return events;
}

/** The server hears of the end in its own time, and nothing tells when it has. */
async function until(feed: EventFeed, subscribers: number): Promise<void> {
  while (feed.subscribers !== subscribers) await new Promise((resolve) => setImmediate(resolve));
}

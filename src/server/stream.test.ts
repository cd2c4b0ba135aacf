import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import type { ClientReadableStream } from "@grpc/grpc-js";
import { chunks } from "./convert/chunk.ts";
import { toSandboxConfig } from "./convert/sandbox-config.ts";
import { loadServices } from "./descriptor.ts";
import type { StreamPodSandboxesResponse__Output } from "./generated/runtime/v1/StreamPodSandboxesResponse.ts";
import { serverStreaming } from "./handler.ts";
import { connect, FakeNode, failure } from "./server.fixture.ts";

const MIB = 1024 * 1024;
const metadata = { name: "p", uid: "u", namespace: "n" };

describe("a list as a stream", () => {
  it("holds each item once, in messages of about a mebibyte", async () => {
    const node = await filled(60, 100_000);
    await using client = await connect(node);
    const messages = await all(client.runtime.StreamPodSandboxes({}));
    const ids = messages.flatMap(({ podSandboxes }) => podSandboxes.map(({ id }) => id));
    assert.deepEqual(ids, [...node.sandboxes.keys()]);
    assert.ok(messages.length >= 6 && messages.length <= 8, `${messages.length} messages`);
    for (const { podSandboxes } of messages) {
      assert.ok(JSON.stringify(podSandboxes).length < 1.1 * MIB);
    }
  });

  it("carries a list that is too large for one message", async () => {
    const node = await filled(20, 2 * MIB);
    await using client = await connect(node);
    assert.match((await failure(client.ask.ListPodSandbox({}))).message, /larger than max/);
    assert.equal((await all(client.runtime.StreamPodSandboxes({}))).length, 20);
  });

  it("is filtered as the list is, and empty without an error", async () => {
    await using client = await connect(await filled(3, 10));
    const found = await all(client.runtime.StreamPodSandboxes({ filter: { state: { state: "SANDBOX_NOTREADY" } } }));
    assert.deepEqual(found, []);
    const containers = client.runtime.StreamContainers({ filter: { state: { state: 77 as never } } });
    containers.resume();
    await assert.rejects(once(containers, "end"), /filter\.state\.state has the unknown value 77/);
    client.image.StreamImages({}).resume();
    await client.ask.Version({});
  });

  it("ends when the client goes away, and the server goes on", async () => {
    await using client = await connect(await filled(20, 2 * MIB));
    const stream = client.runtime.StreamPodSandboxes({});
    stream.on("error", () => {});
    await once(stream, "data");
    stream.cancel();
    await client.ask.Version({});
  });
});

describe("the streaming handler", () => {
  it("asks for the next message only when the last one has left", async () => {
    const asked: number[] = [];
    const written: (() => void)[] = [];
    const handler = serverStreaming<object, number>(
      "X",
      function* () {
        for (const n of [1, 2, 3]) {
          asked.push(n);
          yield n;
        }
      },
      () => {},
    );
    const ended = Promise.withResolvers<void>();
    const call = {
      ...{ request: {}, on: () => {}, getDeadline: () => Number.POSITIVE_INFINITY },
      write: (_message: number, done: () => void) => written.push(done),
      end: () => ended.resolve(),
    };
    handler(call as never);
    for (const n of [1, 2, 3]) {
      await turns();
      assert.deepEqual(asked.at(-1), n);
      assert.equal(written.length, n);
      written.at(-1)?.();
    }
    await ended.promise;
  });
});

describe("chunks", () => {
  it("cuts by size, keeps the order, and lets a large item travel alone", () => {
    const cut = [...chunks([4, 4, 4, 20, 1, 1], (n) => n, 10)];
    assert.deepEqual(cut, [[4, 4], [4], [20], [1, 1]]);
    assert.deepEqual([...chunks([], () => 1)], []);
  });
});

/** Lets every promise that is settled already run. */
function turns(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

async function filled(count: number, bytes: number): Promise<FakeNode> {
  const node = new FakeNode();
  const { requestSerialize, requestDeserialize } = loadServices().runtime.RunPodSandbox;
  const annotations = { big: "x".repeat(bytes) };
  const { config } = requestDeserialize(requestSerialize({ config: { metadata, annotations } }));
  const made = toSandboxConfig("config", config);
  const run = () => node.sandboxPort.run(made, "", new AbortController().signal);
  await Promise.all(Array.from({ length: count }, run));
  return node;
}

async function all(
  stream: ClientReadableStream<StreamPodSandboxesResponse__Output>,
): Promise<StreamPodSandboxesResponse__Output[]> {
  return stream.toArray();
}

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Client, status } from "@grpc/grpc-js";
import { loadServices } from "./descriptor.ts";
import { hostileRequests } from "./hostile.fixture.ts";
import { seeded } from "./hostile-values.fixture.ts";
import { connect, FakeNode, failure } from "./server.fixture.ts";

const SEED = 20_261_121;

describe("hostile requests", () => {
  it("answers each of 1,000 with the fitting code and the field's name, and keeps nothing of them", async () => {
    const node = new FakeNode();
    await using client = await connect(node);
    const requests = hostileRequests(1_000, SEED);
    assert.ok(requests.length >= 1_000);
    for (const { method, request, code, field } of requests) {
      const error = await failure(send(client.ask, method, request), `${method} with a bad ${field}`);
      const seen = `${method} ${field}: ${status[error.code]} ${error.details.slice(0, 300)}`;
      assert.equal(status[error.code], status[code], seen);
      assert.ok(error.details.includes(field), seen);
      assert.ok(error.details.length < 1_000, "a message is no copy of the request");
    }
    assert.equal(node.sandboxes.size + node.containers.size + node.images.size, 0);
    await client.ask.Version({});
  });

  it("answers 1,000 messages of random bytes, whatever they decode to", async () => {
    await using client = await connect();
    const random = seeded(SEED);
    const paths = Object.values(loadServices()).flatMap((service) => Object.values(service).map(({ path }) => path));
    for (let round = 0; round < 1_000; round += 1) {
      const bytes = Buffer.from(Array.from({ length: random() * 200 }, () => random() * 256));
      await settled(client.runtime, paths[round % paths.length] ?? "", bytes);
    }
    await client.ask.Version({});
  });

  it("refuses a message above 16 MiB and goes on", async () => {
    await using client = await connect();
    const config = { annotations: { big: "x".repeat(17 * 1024 * 1024) } };
    const error = await failure(client.ask.RunPodSandbox({ config }));
    assert.equal(error.code, status.RESOURCE_EXHAUSTED);
    await client.ask.Version({});
  });
});

/** The method is known at run time only. */
function send(ask: object, method: string, request: object): Promise<unknown> {
  return (
    (ask as Readonly<Record<string, (request: object) => Promise<unknown>>>)[method]?.(request) ?? Promise.resolve()
  );
}

/** Resolves when the server has answered, with whatever. */
function settled(client: Client, path: string, bytes: Buffer): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const call = client.makeServerStreamRequest(
    path,
    (value: Buffer) => value,
    (value) => value,
    bytes,
  );
  call.on("data", () => {});
  call.on("error", () => {});
  call.on("status", () => resolve());
  return promise;
}

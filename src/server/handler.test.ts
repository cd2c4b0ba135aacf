import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import { status } from "@grpc/grpc-js";
import { notFound } from "../lib/errors.ts";
import { connect, FakeNode, failure } from "./server.fixture.ts";

const request = { containerId: "a".repeat(64) };

describe("a call with one answer", () => {
  it("answers a domain error with its code and text", async () => {
    await using client = await connect(startingWith((id) => Promise.reject(notFound("container", id))));
    const error = await failure(client.ask.StartContainer(request));
    assert.equal(error.code, status.NOT_FOUND);
    assert.match(error.details, /^container "a+" not found$/);
  });

  it("answers an error that nobody classified as the Go runtimes do", async () => {
    await using client = await connect(startingWith(() => Promise.reject(new Error("boom"))));
    assert.equal((await failure(client.ask.StartContainer(request))).code, status.UNKNOWN);
  });

  it("answers an error thrown before the first wait", async () => {
    const thrower = () => {
      throw new TypeError("a bug");
    };
    await using client = await connect(startingWith(thrower));
    assert.match((await failure(client.ask.StartContainer(request))).details, /a bug/);
  });

  it("aborts when the client cancels", async () => {
    const handler = abortable();
    await using client = await connect(startingWith(handler.start));
    const call = client.runtime.StartContainer(request, () => {});
    await handler.entered;
    call.cancel();
    assert.equal(await handler.aborted, "AbortError");
  });

  it("aborts when the deadline passes, saying so", async () => {
    const handler = abortable();
    await using client = await connect(startingWith(handler.start));
    const deadline = Temporal.Now.instant().epochMilliseconds + 100;
    const error = await failure(client.ask.StartContainer(request, { deadline }));
    assert.equal(error.code, status.DEADLINE_EXCEEDED);
    assert.equal(await handler.aborted, "TimeoutError");
  });

  it("does not abort after the answer", async () => {
    const node = new FakeNode();
    const { promise: seen, resolve } = Promise.withResolvers<AbortSignal>();
    Object.assign(node.containerPort, { start: async (_id: string, signal: AbortSignal) => resolve(signal) });
    await using client = await connect(node);
    await client.ask.StartContainer(request);
    await client.ask.Version({});
    assert.equal((await seen).aborted, false);
  });

  it("tells the observer once, with a name for the call", async () => {
    await using client = await connect(startingWith((id) => Promise.reject(notFound("container", id))));
    await failure(client.ask.StartContainer(request));
    await client.ask.Version({});
    const [first, second] = client.calls;
    assert.deepEqual(
      [first?.method, first?.code, second?.method, second?.code],
      ["StartContainer", "NOT_FOUND", "Version", "OK"],
    );
    assert.equal(client.calls.length, 2);
    assert.notEqual(first?.callId, second?.callId);
  });
});

describe("a server that ends", () => {
  it("finishes the call in flight", async () => {
    const entered = Promise.withResolvers<void>();
    const finish = Promise.withResolvers<void>();
    await using client = await connect(
      startingWith(() => {
        entered.resolve();
        return finish.promise;
      }),
    );
    const call = client.ask.StartContainer(request);
    await entered.promise;
    const stopped = client.stopServer();
    finish.resolve();
    assert.deepEqual(await call, {});
    await stopped;
  });

  it("cancels the call that outlasts the grace", async () => {
    const handler = abortable();
    await using client = await connect(startingWith(handler.start), 20);
    const call = failure(client.ask.StartContainer(request));
    await handler.entered;
    await client.stopServer();
    assert.equal(await handler.aborted, "AbortError");
    await call;
  });
});

type Start = FakeNode["containerPort"]["start"];

function startingWith(start: Start): FakeNode {
  const node = new FakeNode();
  Object.assign(node.containerPort, { start });
  return node;
}

/** A start() that waits to be aborted and says why it was. */
function abortable() {
  const entered = Promise.withResolvers<void>();
  const aborted = Promise.withResolvers<string>();
  const start: Start = async (_id, signal) => {
    entered.resolve();
    await once(signal, "abort");
    aborted.resolve(signal.reason.name);
    signal.throwIfAborted();
  };
  return { start, entered: entered.promise, aborted: aborted.promise };
}

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectHttp2, type IncomingHttpHeaders } from "node:http2";
import { connect as connectSocket } from "node:net";
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
    assert.equal(await statusAfter(client.socket, "100m"), String(status.DEADLINE_EXCEEDED));
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

/**
 * The status that StartContainer ends with when the client allows so much time and waits for the answer. Other clients
 * cancel when their own clock says so, which is before the server's does: then nobody can tell why.
 */
async function statusAfter(socket: string, timeout: string): Promise<string> {
  const session = connectHttp2("http://localhost", { createConnection: () => connectSocket(socket) });
  try {
    await once(session, "connect"); // so that all of the request leaves at once
    const stream = session.request({
      ...{ ":method": "POST", ":path": "/runtime.v1.RuntimeService/StartContainer" },
      ...{ "content-type": "application/grpc", te: "trailers", "grpc-timeout": timeout },
    });
    // The message's prefix, and field 1: the container's id.
    const id = Buffer.from(request.containerId);
    stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, 2 + id.length, 0x0a, id.length]), id]));
    stream.resume();
    // An error comes without anything before it: it is all in the first headers.
    const [headers] = (await once(stream, "response")) as [IncomingHttpHeaders];
    return String(headers["grpc-status"]);
  } finally {
    session.destroy();
  }
}

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

import assert from "node:assert/strict";
import { createServer, type Server, type Socket } from "node:net";
import { after, test } from "node:test";
import { MonitorError } from "../../src/monitor/monitor-error.ts";
import { Node, noMoreOpen, openFds, type Sandbox } from "./monitor-fixture.ts";

const node = new Node();
after(() => node[Symbol.asyncDispose]());

const never = new AbortController().signal;

async function listen(serve: (socket: Socket) => void): Promise<{ server: Server; port: number }> {
  const server = createServer({ allowHalfOpen: true }, serve);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  return { server, port: address.port };
}

function dial(s: Sandbox, port: number, netns = ""): Promise<Socket> {
  return s.monitor.dial({ netns, port, deadlineMs: 5000 }, never);
}

test("a client that ends its half, and leaves, is missed although the server says nothing", async () => {
  using s = await node.sandbox();
  let ended = Promise.withResolvers<void>();
  const accepted: Socket[] = [];
  const { server, port } = await listen((socket) => {
    accepted.push(
      socket
        .on("error", () => undefined)
        .on("end", () => ended.resolve())
        .resume(),
    );
  });
  const before = openFds(s);
  for (let i = 0; i < 10; i++) {
    ended = Promise.withResolvers<void>();
    const socket = await dial(s, port);
    socket.end("all that I say");
    await ended.promise; // the half is shut all the way, and the server keeps its own open
    socket.destroy();
  }
  await noMoreOpen(s, before);
  for (const socket of accepted) socket.destroy();
  server.close();
});

test("a monitor never stays in a pod's namespace, not where it would not be let in again at home", async () => {
  // As root of a user namespace, in a network namespace of another one.
  const script = `unshare --net sh -c 'echo $$; exec sleep 1000' 3>&- & exec "$@" >/dev/null`;
  const pod = Promise.withResolvers<number>();
  await using strange = new Node(["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"], (line) =>
    pod.resolve(Number(line)),
  );
  using s = await strange.sandbox();
  const { server, port } = await listen((socket) => socket.end("home"));
  const pid = await pod.promise;
  await assert.rejects(dial(s, port, `/proc/${pid}/ns/net`), (error) => error instanceof MonitorError);
  const socket = await dial(s, port);
  let heard = "";
  for await (const chunk of socket) heard += String(chunk);
  assert.equal(heard, "home");
  process.kill(pid, "SIGKILL");
  server.close();
});

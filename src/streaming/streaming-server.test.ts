import assert from "node:assert/strict";
import { channel } from "node:diagnostics_channel";
import { once } from "node:events";
import { connect, type Server } from "node:net";
import { it } from "node:test";
import { SpdyClient } from "../../conformance/harness/spdy-client.ts";
import { type Answer, NotUpgraded, upgrade } from "../../conformance/harness/upgraded.ts";
import { exec, portForward, start, until } from "./streaming-server.fixture.ts";

const spdy = ["Connection: Upgrade", "Upgrade: SPDY/3.1"];
const v4 = "X-Stream-Protocol-Version: v4.channel.k8s.io";

async function refused(url: string, headers: readonly string[], method: "GET" | "POST" = "POST"): Promise<Answer> {
  const error = await upgrade(url, method, headers).then(
    () => assert.fail("it was upgraded"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof NotUpgraded);
  return error.answer;
}

it("gives a URL that works once", async () => {
  await using node = await start();
  const url = node.server.url(exec("stdout"));
  assert.match(url, /^http:\/\/127\.0\.0\.1:\d+\/exec\/[\w-]{22}$/);
  await using _client = await SpdyClient.connect(url, ["v4.channel.k8s.io"]);
  assert.equal((await refused(url, [...spdy, v4])).status, 404);
});

it("does not know other tokens, paths and kinds", async () => {
  await using node = await start();
  const url = node.server.url(exec("stdout"));
  for (const other of [
    url.replace(/[\w-]{22}$/, "A".repeat(22)),
    url.replace(/[\w-]{22}$/, ""),
    url.replace("/exec/", "/attach/"),
    url.replace("/exec/", "/"),
    `${url}/x`,
    new URL("/", url).href,
  ]) {
    assert.equal((await refused(other, [...spdy, v4])).status, 404, other);
  }
});

it("accepts GET and POST and nothing else", async () => {
  await using node = await start();
  for (const method of ["GET", "POST"] as const) {
    const { answer, link } = await upgrade(node.server.url(exec("stdout")), method, [...spdy, v4]);
    assert.equal(answer.status, 101);
    assert.deepEqual(answer.headers.get("x-stream-protocol-version"), ["v4.channel.k8s.io"]);
    assert.deepEqual(answer.headers.get("upgrade"), ["SPDY/3.1"]);
    link.destroy();
  }
  assert.equal((await refused(node.server.url(exec("stdout")), [...spdy, v4], "PUT" as "POST")).status, 405);
});

it("agrees on the client's first version that it has", async () => {
  await using node = await start();
  for (const [offered, agreed] of [
    [["v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io"], "v4.channel.k8s.io"],
    [["channel.k8s.io", "v4.channel.k8s.io"], "channel.k8s.io"],
    [["v5.channel.k8s.io, v2.channel.k8s.io", "v3.channel.k8s.io"], "v2.channel.k8s.io"],
  ] as const) {
    await using client = await SpdyClient.connect(node.server.url(exec("stdout")), offered);
    assert.equal(client.protocol, agreed);
  }
});

it("refuses clients that name no version, or none that it has", async () => {
  await using node = await start();
  assert.equal((await refused(node.server.url(exec("stdout")), spdy)).status, 400);
  const unknown = await refused(node.server.url(exec("stdout")), [...spdy, "X-Stream-Protocol-Version: v9"]);
  assert.equal(unknown.status, 403);
  assert.deepEqual(unknown.headers.get("x-accepted-stream-protocol-versions"), [
    "v4.channel.k8s.io",
    "v3.channel.k8s.io",
    "v2.channel.k8s.io",
    "channel.k8s.io",
  ]);
  const forward = await refused(node.server.url(portForward), [...spdy, v4]);
  assert.deepEqual(forward.headers.get("x-accepted-stream-protocol-versions"), ["portforward.k8s.io"]);
});

it("refuses what asks for another upgrade, or for none", async () => {
  await using node = await start();
  const upgrades = [["Connection: Upgrade", "Upgrade: h2c", v4], [v4], ["Connection: Upgrade", "Upgrade: websocket"]];
  for (const headers of upgrades) assert.equal((await refused(node.server.url(exec("stdout")), headers)).status, 400);
});

it("refuses a WebSocket port-forward without ports", async () => {
  await using node = await start();
  const headers = [
    ...["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"],
    ...["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol: v4.channel.k8s.io"],
  ];
  for (const query of ["", "?port=0", "?port=x"]) {
    assert.equal((await refused(node.server.url(portForward) + query, headers, "GET")).status, 400, query);
  }
});

it("refuses an upgrade with a body that is still to come, whoever sends it", async () => {
  await using node = await start();
  const unknown = new URL(`/exec/${"A".repeat(22)}`, node.server.url(exec("stdout"))).href;
  for (const url of [unknown, node.server.url(exec("stdout"))]) {
    for (const body of ["Content-Length: 50", "Transfer-Encoding: chunked"]) {
      assert.equal((await refused(url, [...spdy, v4, body])).status, 400, body);
    }
  }
  assert.equal(node.server.sessions, 0);
});

it("closes a connection with too large a request", async () => {
  await using node = await start();
  const answer = await refused(node.server.url(exec("stdout")), [...spdy, v4, `X: ${"x".repeat(20_000)}`]);
  assert.equal(answer.status, 431);
});

it("writes no token, no command and no URL into its log", async () => {
  await using node = await start((session) => session.exit(0));
  const url = node.server.url(exec("stdout"));
  await using client = await SpdyClient.connect(url, ["v4.channel.k8s.io"]);
  await client.open({ streamtype: "error" });
  await client.open({ streamtype: "stdout" });
  await client.closed;
  await until(() => node.lines.some((line) => line.includes("stream ended")));
  const text = node.lines.join("\n");
  assert.match(text, /stream=exec container=c kind=exited code=0/);
  assert.doesNotMatch(text, new RegExp(`cat|http|${url.slice(-22)}`));
});

it("does not log what a runtime quotes of a command that it could not start, and tells the client", async () => {
  const quoted = 'exec: "cat": executable file not found in $PATH';
  await using node = await start((session) => session.fail(quoted));
  await using client = await SpdyClient.connect(node.server.url(exec("stdout")), ["v4.channel.k8s.io"]);
  const error = await client.open({ streamtype: "error" });
  await client.open({ streamtype: "stdout" });
  assert.match(await error.text(), /executable file not found/);
  await until(() => node.lines.some((line) => line.includes("stream ended")));
  assert.match(node.lines.join("\n"), /stream=exec container=c kind=failed ms=\d+$/);
});

it("ends with clients that have said nothing", async () => {
  const node = await start();
  const { port } = new URL(node.server.url(portForward));
  const socket = connect(Number(port), "127.0.0.1");
  await once(socket, "connect");
  const closed = once(socket, "close");
  await node.server[Symbol.asyncDispose]();
  socket.resume();
  await closed;
});

it("closes a connection on which nothing is said", async () => {
  await using node = await start(undefined, { idleMs: 20 });
  const client = await SpdyClient.connect(node.server.url(portForward), ["portforward.k8s.io"]);
  await client.closed;
});

it("goes on when the kernel has no connection for it", async () => {
  const listening = channel("tracing:net.server.listen:asyncStart");
  const servers: Server[] = [];
  const remember = (message: unknown) => void servers.push((message as { readonly server: Server }).server);
  listening.subscribe(remember);
  await using node = await start();
  listening.unsubscribe(remember);
  assert.equal(servers.length, 1);
  servers[0]?.emit("error", Object.assign(new Error("accept ENOBUFS"), { code: "ENOBUFS" }));
  assert.match(node.lines.join("\n"), /level=warn .*accept ENOBUFS/);
  await using _client = await SpdyClient.connect(node.server.url(exec("stdout")), ["v4.channel.k8s.io"]);
});

it("opens nothing for an upgrade that comes while it ends, and tells the client", async () => {
  const node = await start();
  const url = new URL(node.server.url(exec("stdout")));
  const socket = connect(Number(url.port), "127.0.0.1");
  const head = [`POST ${url.pathname} HTTP/1.1`, "Host: x", ...spdy, v4].join("\r\n");
  socket.write(head);
  // Its connection is the server's once that has answered another.
  await refused(node.server.url(exec("stdout")), [v4]);
  const ended = node.server[Symbol.asyncDispose]();
  socket.write("\r\n\r\n");
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk);
  assert.match(Buffer.concat(chunks).toString("latin1"), /^HTTP\/1\.1 101 /);
  await ended;
  assert.equal(node.server.sessions, 0);
  assert.match(node.lines.join("\n"), /the runtime is stopping/);
});

it("does not fill the log for those who have no token", async () => {
  await using node = await start(undefined, {});
  const url = node.server.url(exec("stdout"));
  await refused(url.replace(/[\w-]{22}$/, "A".repeat(22)), [...spdy, v4]);
  assert.match(node.lines.join("\n"), /^\S+ level=debug msg="stream refused" .*$/);
});

it("cannot listen where somebody else does", async () => {
  await using node = await start();
  const { port } = new URL(node.server.url(portForward));
  await assert.rejects(start(undefined, { port: Number(port) }), { code: "EADDRINUSE" });
});

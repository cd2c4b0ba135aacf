import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createConnection, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { until } from "../../conformance/harness/until.ts";
import { Monitor } from "../../src/monitor/monitor.ts";
import type { MonitoredContainer } from "../../src/monitor/monitored-container.ts";
import { Node, script } from "./monitor-fixture.ts";

const node = new Node();
after(() => node[Symbol.asyncDispose]());

test("a connection that breaks is made again: requests in flight are answered, hidden exits told", async () => {
  using s = await node.sandbox();
  const sockets: Socket[] = [];
  const server = createServer((client) => {
    const upstream = createConnection(s.place.socketPath);
    sockets.push(client, upstream);
    for (const socket of [client, upstream]) socket.on("error", () => undefined);
    client.pipe(upstream).pipe(client);
  });
  const socketPath = join(s.place.dir, "proxy.sock");
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  const cut = (): void => {
    for (const socket of sockets.splice(0)) socket.destroy();
  };
  const exits: MonitoredContainer[] = [];
  const { promise: exit, resolve: onExit } = Promise.withResolvers<void>();
  const { promise: lost, resolve: onLost } = Promise.withResolvers<Error>();
  const monitor = await Monitor.connect({
    socketPath,
    epoch: 1n,
    onExit: (container) => {
      exits.push(container);
      onExit();
    },
    onLost,
  });
  const marker = join(s.place.dir, "runs");
  const argv = [script(s.place, "runtime", `echo x >> ${marker}; sleep 0.3; sleep 1000 & echo $! > $1`), "@pid-file"];
  const request = { argv, env: [], deadlineMs: 10_000, cwd: "/", logPath: "", uid: 0, gid: 0, stdin: false };
  const creating = monitor.create("c", { ...request, env: ["PATH=/usr/bin:/bin"] });
  await until("the container is known", async () => (await s.monitor.snapshot()).length > 0);
  cut();
  const { pid } = await creating;
  assert.equal((await s.monitor.snapshot())[0]?.pid, pid);
  assert.equal(readFileSync(marker, "utf8"), "x\n");
  cut();
  await s.monitor.signal("c", 9);
  await exit;
  assert.equal(exits[0]?.siStatus, 9);
  server.close();
  cut();
  assert.match((await lost).message, /LOST/);
  await assert.rejects(monitor.snapshot(), /LOST/);
});

test("one that is closed while its connection is made again stays closed, and nobody waits for it", async () => {
  using s = await node.sandbox();
  await using server = createServer();
  const socketPath = join(s.place.dir, "slow.sock");
  server.listen(socketPath);
  await once(server, "listening");
  const accept = async (): Promise<Socket> => {
    const [client]: Socket[] = await once(server, "connection");
    assert.ok(client);
    return client.on("error", () => undefined);
  };
  const connect = (client: Socket): void => {
    const upstream = createConnection(s.place.socketPath).on("error", () => undefined);
    client.pipe(upstream).pipe(client);
  };
  const first = accept();
  const connecting = Monitor.connect({
    socketPath,
    epoch: 1n,
    onExit: () => assert.fail(),
    onLost: () => assert.fail(),
  });
  connect(await first);
  const monitor = await connecting;
  const second = accept();
  (await first).destroy();
  const client = await second;
  const waiting = assert.rejects(monitor.snapshot(), /LOST/);
  const closed = once(client, "close");
  monitor.close();
  connect(client);
  await waiting;
  await closed;
  await assert.rejects(monitor.snapshot(), /LOST/);
});

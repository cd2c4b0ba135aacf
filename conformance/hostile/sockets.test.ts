import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import test, { after, before, describe } from "node:test";
import { sandboxConfig } from "../harness/cri-configs.ts";
import { TestNode } from "../harness/test-node.ts";
import { seeded } from "./poison.ts";

const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
/** SETTINGS with nothing in it; then HEADERS, whose end never comes, of a stream that is never finished. */
const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
const halfHeaders = Buffer.from([0, 0, 64, 1, 0, 0, 0, 0, 1, 0x83, 0x86]);

describe("clients that break the rules of the socket", () => {
  const owned = new AsyncDisposableStack();
  let node: TestNode;
  let descriptors: number;

  before(async () => {
    node = owned.use(await TestNode.start());
    descriptors = await openDescriptors();
  });
  after(() => owned.disposeAsync());

  const openDescriptors = async () => (await readdir(`/proc/${node.server.pid}/fd`)).length;
  const open = async (count: number, first: (index: number) => Buffer): Promise<Socket[]> => {
    const sockets = Array.from({ length: count }, () => connect(node.server.paths.socket).on("error", () => {}));
    await Promise.all(sockets.map((socket) => ended(socket, "connect")));
    for (const [index, socket] of sockets.entries()) socket.write(first(index));
    return sockets;
  };
  const works = async (name: string) => {
    const made = await node.cri.call("RunPodSandbox", { config: sandboxConfig(name) }, { deadlineMs: 30_000 });
    await node.cri.call("RemovePodSandbox", made, { deadlineMs: 30_000 });
  };

  test("two hundred that never speak keep nobody else from being served", async () => {
    const silent = await open(200, () => Buffer.alloc(0));
    await works("silence");
    for (const socket of silent) socket.destroy();
  });

  test("half-open HTTP/2 connections and half messages keep nobody else from being served", async () => {
    const kinds = [
      preface.subarray(0, 10),
      preface,
      Buffer.concat([preface, settings]),
      Buffer.concat([preface, settings, halfHeaders]),
    ];
    const halves = await open(100, (index) => kinds[index % kinds.length] ?? preface);
    await works("halves");
    for (const socket of halves) socket.destroy();
  });

  test("random bytes end their own connection only", async () => {
    const random = seeded(7);
    const noise = () => Buffer.from(Array.from({ length: 64 + random() * 4_000 }, () => random() * 256));
    const bare = await open(50, noise);
    const polite = await open(50, () => Buffer.concat([preface, settings, noise()]));
    await works("noise");
    for (const socket of [...bare, ...polite]) socket.destroy();
  });

  test("HTTP/1 is refused", async () => {
    const [socket] = await open(1, () => Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert.ok(socket);
    socket.resume();
    await ended(socket, "close");
  });

  test("calls that are cancelled at once leave nothing", async () => {
    const calls = Array.from({ length: 100 }, (_, index) => {
      const giveUp = new AbortController();
      const config = sandboxConfig(`cancelled-${index % 5}`);
      const call = node.cri.call("RunPodSandbox", { config }, { signal: giveUp.signal }).catch(() => {});
      giveUp.abort();
      return call;
    });
    await Promise.all(calls);
    for (let index = 0; index < 5; index += 1) await works(`cancelled-${index}`);
  });

  test("no descriptor and nothing else is left of all of them", async () => {
    await node.assertClean();
    const deadline = performance.now() + 10_000;
    // The server learns of a closed socket when it gets to it.
    while ((await openDescriptors()) > descriptors && performance.now() < deadline) await node.cri.call("Version", {});
    assert.ok((await openDescriptors()) <= descriptors);
    await node.assertCleanEnd();
  });
});

async function ended(socket: Socket, event: "connect" | "close"): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.once(event, () => resolve());
  await promise;
}

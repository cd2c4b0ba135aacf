import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { after, before, describe } from "node:test";
import { SpdyClient } from "../harness/spdy-client.ts";
import { exec, removePod, runPod, streamUrl } from "../harness/streams.ts";
import { TestNode } from "../harness/test-node.ts";
import { until } from "../harness/until.ts";
import { WebSocketClient } from "../harness/websocket-client.ts";

const megabyte = 1_000_000;
const sizes = [200 * megabyte, 2_000 * megabyte];
/** What the server may hold above what it held when it had done each thing once. */
const mostGrowthBytes = 64 << 20;
/** Of two peaks of the same work: what the collector happens to have left. */
const slackBytes = 16 << 20;

describe("a transfer", () => {
  const owned = new AsyncDisposableStack();
  const peaks = new Map<string, number>();
  let node: TestNode;
  let podSandboxId: string;
  let containerId: string;
  let folder: string;
  let warm: number;

  before(async () => {
    node = owned.use(await TestNode.start({ defaultRuntime: "crun" }));
    folder = join(node.server.paths.folder, "volume");
    await mkdir(folder);
    for (const size of [megabyte, ...sizes]) await writeRandom(join(folder, `${size}`), size);
    // Without a limit of memory: the page cache of the files counts as the container's.
    const change = { mounts: [{ containerPath: "/volume", hostPath: folder }], linux: {} };
    ({ podSandboxId, containerId } = await runPod(node.cri, "gigabytes", change));
    for (const way of Object.values(ways)) await way(megabyte);
    warm = await memory(node.server.pid, "VmRSS");
  });
  after(() => owned.disposeAsync());

  const ways = {
    "out of an exec": async (size: number) => {
      await using session = await exec(node.cri, containerId, ["cat", `/volume/${size}`], "stdout");
      const hash = createHash("sha256");
      session.stream("stdout").listen((data) => void hash.update(data));
      await session.stream("stdout").ended;
      assert.equal(await session.exitCode(), 0);
      assert.equal(hash.digest("hex"), await hashOf(join(folder, `${size}`)));
    },
    "into an exec": async (size: number) => {
      await using session = await exec(node.cri, containerId, ["sh", "-c", "cat >/volume/in"], "stdin");
      for await (const chunk of chunks(join(folder, `${size}`))) await session.stream("stdin").write(chunk);
      session.stream("stdin").end();
      assert.equal(await session.exitCode(), 0);
      assert.equal(await hashOf(join(folder, "in")), await hashOf(join(folder, `${size}`)));
    },
    "out of a port": async (size: number) => {
      await using port = await listening(`nc -l -p 9000 </volume/${size}`);
      const hash = createHash("sha256");
      port.data.listen((data) => void hash.update(data));
      await port.data.ended;
      assert.equal(hash.digest("hex"), await hashOf(join(folder, `${size}`)));
    },
    "into a port": async (size: number) => {
      await using port = await listening("nc -l -p 9000 >/volume/in; touch /volume/done");
      for await (const chunk of chunks(join(folder, `${size}`))) await port.data.write(chunk);
      port.data.end();
      await port.data.ended;
      assert.equal(await port.session.exitCode(), 0);
      assert.equal(await hashOf(join(folder, "in")), await hashOf(join(folder, `${size}`)));
    },
  } as const;

  /** A program that listens on port 9000 of the sandbox, and a forwarded connection to it. */
  async function listening(program: string) {
    await using undo = new AsyncDisposableStack();
    const session = undo.use(await exec(node.cri, containerId, ["sh", "-c", program], "stdout"));
    // nc does not say that it listens; each look takes some milliseconds.
    await until("nc listens", isListenedTo);
    const url = await streamUrl(node.cri, "PortForward", { podSandboxId, port: [9000] });
    const client = undo.use(await SpdyClient.connect(url, ["portforward.k8s.io"]));
    const pair = { port: "9000", requestid: "0" };
    await client.open({ streamtype: "error", ...pair });
    const data = await client.open({ streamtype: "data", ...pair });
    const kept = undo.move();
    return { session, data, [Symbol.asyncDispose]: () => kept.disposeAsync() };
  }

  async function isListenedTo(): Promise<boolean> {
    const { stdout } = await node.cri.call("ExecSync", {
      containerId,
      cmd: ["cat", "/proc/net/tcp", "/proc/net/tcp6"],
    });
    return /:2328 \S+ 0A /.test(stdout.toString());
  }

  for (const [name, way] of Object.entries(ways)) {
    for (const size of sizes) {
      test(`of ${size / megabyte} MB ${name} arrives whole, and the server stays small`, async () => {
        await resetPeak(node.server.pid);
        await way(size);
        const peak = await memory(node.server.pid, "VmHWM");
        assert.ok(peak - warm < mostGrowthBytes, `from ${warm} to ${peak} bytes`);
        const smaller = peaks.get(name);
        if (smaller !== undefined) assert.ok(peak - smaller < slackBytes, `${smaller} bytes became ${peak}`);
        peaks.set(name, peak);
      });
    }
  }

  test("of 200 MB out of an exec over a WebSocket arrives whole, and the server stays small", async () => {
    const size = sizes[0] ?? 0;
    await resetPeak(node.server.pid);
    const cmd = ["cat", `/volume/${size}`];
    const url = await streamUrl(node.cri, "Exec", { containerId, cmd, stdout: true });
    await using client = await WebSocketClient.connect(url, ["v5.channel.k8s.io"]);
    const hash = createHash("sha256");
    let status = "";
    client.receive((message) => {
      if (message[0] === 1) hash.update(message.subarray(1));
      if (message[0] === 3) status += message.toString("utf8", 1);
    });
    assert.equal(await client.closed, 1000);
    assert.match(status, /Success/);
    assert.equal(hash.digest("hex"), await hashOf(join(folder, `${size}`)));
    const peak = await memory(node.server.pid, "VmHWM");
    assert.ok(peak - warm < mostGrowthBytes, `from ${warm} to ${peak} bytes`);
  });

  test("leaves nothing behind", async () => {
    await removePod(node.cri, podSandboxId);
    await rm(folder, { recursive: true });
    await node.assertCleanEnd();
  });
});

/** Chunks as a client sends them. */
function chunks(path: string): AsyncIterable<Buffer> {
  return createReadStream(path, { highWaterMark: 64 << 10 });
}

/** Bytes that repeat themselves only in what no shift maps onto itself: each megabyte carries its number. */
async function writeRandom(path: string, size: number): Promise<void> {
  const block = randomBytes(megabyte);
  await using file = await open(path, "w");
  for (let at = 0; at < size; at += megabyte) {
    block.writeUInt32BE(at / megabyte, 0);
    await file.write(block);
  }
}

const hashes = new Map<string, string>();

/** Of the file; those that do not change are read once. */
async function hashOf(path: string): Promise<string> {
  const known = hashes.get(path);
  if (known !== undefined) return known;
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk);
  const digest = hash.digest("hex");
  if (/\d$/.test(path)) hashes.set(path, digest);
  return digest;
}

async function memory(pid: number, field: "VmRSS" | "VmHWM"): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(text)?.[1]) * 1024;
}

/** The highest of what it holds is counted from now on. */
async function resetPeak(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, "5");
}

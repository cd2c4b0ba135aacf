import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import test, { after, before, describe } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { SpdyClient } from "../harness/spdy-client.ts";
import { exec, removePod, runPod, streamUrl } from "../harness/streams.ts";
import { TestNode } from "../harness/test-node.ts";
import { until } from "../harness/until.ts";
import { upgrade } from "../harness/upgraded.ts";
import { processes } from "../recovery/processes.ts";

const seed = 20_261_121;

for (const runtime of ["crun", "runc"] as const)
  describe(`a crowd of clients with ${runtime}`, () => {
    const owned = new AsyncDisposableStack();
    let node: TestNode;
    let pod: Awaited<ReturnType<typeof runPod>>;
    /** Before any client: those who leave hold something for a while. */
    let atRest: Held;

    before(async () => {
      node = owned.use(await TestNode.start({ defaultRuntime: runtime }));
      pod = await runPod(node.cri, "floods", { linux: {} });
      await until("the container waits", async () => (await processes("sleep")).length > 0);
      atRest = await held(node);
    });
    after(() => owned.disposeAsync());

    async function echo(number: number): Promise<void> {
      const script = `read line; echo "$line and ${number}"; exit ${number % 2}`;
      await using session = await exec(node.cri, pod.containerId, ["sh", "-c", script], "stdin", "stdout");
      await session.stream("stdin").write(`${number}\n`);
      assert.equal(await session.stream("stdout").text(), `${number} and ${number}\n`);
      assert.equal(await session.exitCode(), number % 2);
    }

    test("200 execs at once each get their own input, output and code", async () => {
      await Promise.all(Array.from({ length: 200 }, (_, number) => echo(number)));
    });

    test("1,000 connections that are cut anywhere leave no process, no descriptor and no token", async (t) => {
      const random = numbers(seed);
      const cmd = ["sh", "-c", "echo begin; cat; head -c 100000 /dev/zero; sleep 1000"];
      const conversation = await recorded();
      for (let round = 0; round < 1_000; round += 20) {
        await Promise.all(
          Array.from({ length: 20 }, async () => {
            const asked = { containerId: pod.containerId, cmd, stdin: true, stdout: true, stderr: true };
            await cutAt(await streamUrl(node.cri, "Exec", asked), conversation, random);
          }),
        );
      }
      t.diagnostic(`seed ${seed}`);
      // What is killed is reaped, and what is closed is closed, soon; there is no event that says so.
      let now = atRest;
      const rests = until("all that they held is given back", async () => {
        now = await held(node);
        return isDeepStrictEqual(now, atRest);
      });
      await rests.catch(() => assert.deepEqual(now, atRest));
      await echo(2);
    });

    test("leaves nothing behind", async () => {
      await removePod(node.cri, pod.podSandboxId);
      await node.assertCleanEnd();
    });

    /** What a client says: the upgrade, its streams, some input. */
    async function recorded(): Promise<Buffer> {
      const sent: Buffer[] = [];
      const never = new Promise<void>(() => {});
      const client = new SpdyClient({
        send: (bytes) => void sent.push(bytes),
        drained: async () => {},
        receive: () => {},
        closed: never,
        pause: () => {},
        resume: () => {},
        destroy: () => {},
      });
      const streams = ["error", "stdin", "stdout", "stderr"].map((streamtype) => client.begin({ streamtype }));
      await client.flushed();
      for (let part = 0; part < 10; part++) await streams[1]?.write("x".repeat(500));
      return Buffer.concat(sent);
    }
  });

/** Says a part of it, hears a part of the answer, and is gone. */
async function cutAt(url: string, conversation: Buffer, random: () => number): Promise<void> {
  const headers = ["Connection: Upgrade", "Upgrade: SPDY/3.1", "X-Stream-Protocol-Version: v4.channel.k8s.io"];
  const { link } = await upgrade(url, "POST", headers);
  const isWhole = random() < 0.5;
  link.send(isWhole ? conversation : conversation.subarray(0, Math.floor(random() * conversation.length)));
  // It gets back what it sent, at the least.
  const heard = isWhole ? 1 + Math.floor(random() * 5_000) : 0;
  if (heard > 0) {
    const { promise, resolve } = Promise.withResolvers<void>();
    let bytes = 0;
    link.receive((chunk) => {
      bytes += chunk.length;
      if (bytes >= heard) resolve();
    });
    await promise;
  }
  link.destroy();
  await link.closed;
}

interface Held {
  readonly inContainer: number;
  readonly daemon: number;
  readonly monitors: readonly number[];
}

async function held(node: TestNode): Promise<Held> {
  const monitors = await processes("nacelle-monitor");
  return {
    inContainer: (await processes("sleep")).length + (await processes("sh")).length + (await processes("cat")).length,
    daemon: await descriptors(node.server.pid),
    monitors: await Promise.all(monitors.map(descriptors)),
  };
}

async function descriptors(pid: number): Promise<number> {
  return (await readdir(`/proc/${pid}/fd`)).length;
}

function numbers(start: number): () => number {
  let state = start;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

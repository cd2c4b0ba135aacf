import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { cpus } from "node:os";
import test, { after, before, describe } from "node:test";
import { TestNode } from "../harness/test-node.ts";
import {
  ask,
  type ContainerStats,
  containerStats,
  cpuOf,
  eventually,
  execute,
  native,
  removePod,
  type SandboxStats,
  sandboxStats,
  startPod,
  type Value,
} from "./pods.ts";

const MIB = 1024 * 1024;
const number = (value: Value | null | undefined) => Number(value?.value ?? Number.NaN);

describe("statistics of running pods", () => {
  let node: TestNode;

  before(async () => {
    node = await TestNode.start({ settings: { "stats.writableLayerInterval": "1h" } });
  });
  after(async () => {
    await node[Symbol.asyncDispose]();
  });

  for (const handler of ["crun", "runc"]) {
    test(`are what the cgroup's files say (${handler})`, async () => {
      const pod = await startPod(node, `files-${handler}`, { handler });
      for (const [id, read] of [
        [`${pod.cgroupParent}/${pod.containerId}`, async () => await containerStats(node, pod)],
        [pod.cgroupParent, async () => (await sandboxStats(node, pod)).linux],
      ] as const) {
        const earlier = await cpuOf(id);
        const { cpu, memory } = await read();
        const later = await cpuOf(id);
        const used = number(cpu?.usageCoreNanoSeconds);
        assert.ok(earlier <= used && used <= later, `${earlier} <= ${used} <= ${later}`);
        assert.ok(number(memory?.["usageBytes"]) > 0);
        assert.ok(number(memory?.["workingSetBytes"]) <= number(memory?.["usageBytes"]));
        assert.ok(number(memory?.["pageFaults"]) > 0);
      }
      const { memory } = await containerStats(node, pod);
      assert.equal(number(memory?.["availableBytes"]) + number(memory?.["workingSetBytes"]), 64 * MIB);
      const { process, containers } = (await sandboxStats(node, pod)).linux;
      assert.ok(number(process?.processCount) >= 1);
      assert.deepEqual(
        containers.map(({ attributes }) => attributes.id),
        [pod.containerId],
      );
      await removePod(node, pod);
    });
  }

  test("grow with what a container computes, and tell its rate", async () => {
    const pod = await startPod(node, "busy", { container: { command: ["sh", "-c", "while :; do :; done"] } });
    const first = await containerStats(node, pod);
    assert.equal(first.cpu?.usageNanoCores, null, "nothing to compare with yet");
    const busy = await eventually(
      async () => await containerStats(node, pod),
      ({ cpu }) => cpu?.usageNanoCores != null,
    );
    const rate = number(busy.cpu?.usageNanoCores);
    assert.ok(rate > 0 && rate <= cpus().length * 1.2e9, `${rate}`);
    assert.ok(number(busy.cpu?.usageCoreNanoSeconds) > number(first.cpu?.usageCoreNanoSeconds));
    assert.ok(BigInt(busy.cpu?.timestamp ?? 0) > BigInt(first.cpu?.timestamp ?? 0));
    await removePod(node, pod);
  });

  test("count the pages that it fills", async () => {
    const pod = await startPod(node, "memory");
    const before = await containerStats(node, pod);
    // Files of a tmpfs are memory of who writes them, and cannot be dropped.
    await execute(node, pod, "dd if=/dev/zero of=/dev/shm/fill bs=1048576 count=20 2>/dev/null");
    const growth =
      number((await containerStats(node, pod)).memory?.["workingSetBytes"]) -
      number(before.memory?.["workingSetBytes"]);
    assert.ok(growth > 18 * MIB && growth < 40 * MIB, `${growth}`);
    await removePod(node, pod);
  });

  test("count what goes over each interface, and nothing on the host's network", async () => {
    const pod = await startPod(node, "network");
    const eth = async () => (await sandboxStats(node, pod)).linux.network;
    const before = await eth();
    assert.equal(before?.defaultInterface?.name, "eth0");
    assert.deepEqual(
      before?.interfaces.filter(({ name }) => name === "lo"),
      [],
    );
    await execute(node, pod, "ping -c 3 -i 0.2 -s 5000 10.88.0.1");
    const after = await eth();
    for (const key of ["rxBytes", "txBytes"] as const) {
      const moved: number = number(after?.defaultInterface?.[key]) - number(before?.defaultInterface?.[key]);
      assert.ok(moved >= 3 * 5000 && moved < 100_000, `${key} ${moved}`);
    }
    const onHost = await startPod(node, "host", { sandbox: { hostNetwork: true } });
    assert.equal((await sandboxStats(node, onHost)).linux.network, null);
    await Promise.all([pod, onHost].map((one) => removePod(node, one)));
  });

  test("of what has ended tell who it was, and lists leave out sandboxes that are not ready", async () => {
    const pod = await startPod(node, "ended");
    await node.cri.call("StopContainer", { containerId: pod.containerId });
    const { cpu, memory, attributes } = await containerStats(node, pod);
    assert.deepEqual([cpu, memory, attributes.id], [null, null, pod.containerId]);
    assert.deepEqual((await sandboxStats(node, pod)).linux.containers, []);
    await node.cri.call("StopPodSandbox", { podSandboxId: pod.podSandboxId });
    assert.equal((await sandboxStats(node, pod)).linux.cpu, null);
    const { stats } = await ask<{ readonly stats: readonly SandboxStats[] }>(node.cri, "ListPodSandboxStats");
    assert.deepEqual(stats, []);
    await removePod(node, pod);
  });

  test("are metrics too, each of which was described", async () => {
    const pod = await startPod(node, "metrics");
    const { descriptors } = await ask<Described>(node.cri, "ListMetricDescriptors");
    const { podMetrics } = await ask<Told>(node.cri, "ListPodSandboxMetrics");
    const keys = new Map(descriptors.map(({ name, labelKeys }) => [name, labelKeys]));
    const [told] = podMetrics;
    const all = [...(told?.metrics ?? []), ...(told?.containerMetrics.flatMap(({ metrics }) => metrics) ?? [])];
    for (const { name, labelValues } of all) assert.equal(labelValues.length, keys.get(name)?.length, name);
    const names = new Set(all.map(({ name }) => name));
    // A container that has not touched a disk has no line there.
    const silent = [...keys.keys()].filter((name) => !names.has(name) && !/_(fs_|blkio)/.test(name));
    assert.deepEqual(silent, []);
    for (const { help, labelKeys } of descriptors) assert.ok(help !== "" && labelKeys.length > 0);
    await removePod(node, pod);
  });

  test("start no process, however often they are asked for", async () => {
    const pod = await startPod(node, "quiet", { container: { command: ["sleep", "1000"] } });
    await containerStats(node, pod);
    const before = await settled();
    for (let round = 0; round < 50; round++) {
      await Promise.all(
        ["ListContainerStats", "ListPodSandboxStats", "ListPodSandboxMetrics"].map((call) => node.cri.call(call, {})),
      );
    }
    assert.equal(await lastPid(), before);
    assert.equal((await native("stats")).length, 1);
    await removePod(node, pod);
  });

  test("are there again after the reader, the launcher or the server was killed", async () => {
    const pod = await startPod(node, "killed");
    const used = async () => number((await containerStats(node, pod)).cpu?.usageCoreNanoSeconds);
    let last = await used();
    for (const role of ["stats", "launcher"] as const) {
      const [pid = 0] = await native(role);
      process.kill(pid, "SIGKILL");
      await eventually(
        () => native(role),
        (pids) => !pids.includes(pid),
      );
      const now = await used();
      assert.ok(now >= last, `${role}: ${now} >= ${last}`);
      last = now;
    }
    await node.server.kill();
    await node.server.restart();
    assert.ok((await used()) >= last);
    assert.equal((await native("stats")).length, 1);
    await removePod(node, pod);
  });

  test("leave nothing behind", async () => {
    await node.assertCleanEnd();
  });
});

describe("what containers have written", () => {
  test("is told after the next walk, with its time, in both entries of the file system", async () => {
    await using node = await TestNode.start({ settings: { "stats.writableLayerInterval": "100ms" } });
    const pod = await startPod(node, "writes");
    const layer = async () => (await containerStats(node, pod)).writableLayer;
    const before = await eventually(layer, (found) => found !== null);
    assert.ok(number(before?.usedBytes) < MIB, `${before?.usedBytes.value}`);
    const empty = await filesystems(node);
    await execute(node, pod, "touch /a /b /c; dd if=/dev/urandom of=/written bs=1048576 count=10 2>/dev/null");
    const after = await eventually(layer, (found) => number(found?.usedBytes) >= 10 * MIB);
    assert.ok(number(after?.usedBytes) < 12 * MIB);
    assert.ok(number(after?.inodesUsed) - number(before?.inodesUsed) >= 4);
    assert.ok(BigInt(after?.timestamp ?? 0) > BigInt(before?.timestamp ?? 0));
    const full = await filesystems(node);
    assert.deepEqual(full.images.fsId, full.containers.fsId);
    assert.deepEqual(full.images.fsId, after?.fsId);
    assert.deepEqual(full.images.usedBytes, full.containers.usedBytes);
    assert.ok(number(full.containers.usedBytes) - number(empty.containers.usedBytes) >= 10 * MIB);
    await removePod(node, pod);
    await eventually(
      () => filesystems(node),
      ({ containers }) => number(containers.usedBytes) < number(empty.containers.usedBytes) + MIB,
    );
    await node.assertCleanEnd();
  });
});

interface Described {
  readonly descriptors: readonly {
    readonly name: string;
    readonly help: string;
    readonly labelKeys: readonly string[];
  }[];
}

interface Told {
  readonly podMetrics: readonly {
    readonly metrics: readonly Metric[];
    readonly containerMetrics: readonly { readonly metrics: readonly Metric[] }[];
  }[];
}

interface Metric {
  readonly name: string;
  readonly labelValues: readonly string[];
}

type Filesystem = NonNullable<ContainerStats["writableLayer"]>;

async function filesystems({
  cri,
}: TestNode): Promise<{ readonly images: Filesystem; readonly containers: Filesystem }> {
  const answer = await ask<Readonly<Record<string, readonly Filesystem[]>>>(cri, "ImageFsInfo");
  const { imageFilesystems, containerFilesystems } = answer;
  const [[images], [containers]] = [imageFilesystems ?? [], containerFilesystems ?? []];
  assert.ok(images !== undefined && containers !== undefined);
  return { images, containers };
}

/** The id that the last new process or thread of this PID namespace was given. */
async function lastPid(): Promise<number> {
  return Number(await readFile("/proc/sys/kernel/ns_last_pid", "utf8"));
}

/** Once it has stayed the same for half a second: threads of what was started before come late. */
async function settled(): Promise<number> {
  let [pid, since] = [await lastPid(), performance.now()];
  return await eventually(
    async () => {
      const now = await lastPid();
      if (now !== pid) [pid, since] = [now, performance.now()];
      return pid;
    },
    () => performance.now() - since > 500,
  );
}

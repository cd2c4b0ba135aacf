import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { status } from "@grpc/grpc-js";
import { type Connection, connect, FakeNode, failure } from "./server.fixture.ts";

async function filled(): Promise<{
  readonly client: Connection;
  readonly node: FakeNode;
  readonly ids: readonly string[];
}> {
  const node = new FakeNode();
  const client = await connect(node);
  const metadata = { name: "p", uid: "u", namespace: "n" };
  const config = { metadata, labels: { app: "a" }, annotations: { b: "c" } };
  const { podSandboxId } = await client.ask.RunPodSandbox({ config });
  const container = { metadata: { name: "c" }, image: { image: "busybox" }, labels: { tier: "x" } };
  const { containerId } = await client.ask.CreateContainer({ podSandboxId, config: container });
  return { client, node, ids: [podSandboxId, containerId] };
}

describe("statistics on the wire", () => {
  it("hold what is known, and leave out what is not", async () => {
    const { client: held, ids } = await filled();
    await using client = held;
    const { stats } = await client.ask.ContainerStats({ containerId: ids[1]?.slice(0, 6) ?? "" });
    assert.deepEqual(stats?.attributes?.metadata, { name: "c", attempt: 0 });
    assert.deepEqual(stats?.attributes?.labels, { tier: "x" });
    const line = { Total: "7", Avg10: 0.5, Avg60: 0.25, Avg300: 0.125 };
    assert.deepEqual(stats?.cpu, {
      timestamp: "1795262400000000001",
      usageCoreNanoSeconds: { value: "5000000000" },
      usageNanoCores: { value: "250000000" },
      psi: { Some: line, Full: line },
    });
    assert.deepEqual(stats?.memory, {
      timestamp: "1795262400000000001",
      usageBytes: { value: "1000" },
      workingSetBytes: { value: "700" },
      availableBytes: { value: "1300" },
      ...{ rssBytes: null, pageFaults: null, majorPageFaults: null, psi: null },
    });
    assert.deepEqual([stats?.swap, stats?.io], [null, null]);
    assert.deepEqual(stats?.writableLayer, {
      timestamp: "5000000",
      fsId: { mountpoint: "/var/lib/nacelle" },
      usedBytes: { value: "9" },
      inodesUsed: { value: "2" },
    });
  });

  it("of a sandbox tell the default interface apart, count its processes and hold its containers", async () => {
    const { client: held, ids } = await filled();
    await using client = held;
    const { stats } = await client.ask.PodSandboxStats({ podSandboxId: ids[0] ?? "" });
    assert.equal(stats?.attributes?.metadata?.uid, "u");
    assert.equal(stats?.windows, null);
    const counters = { rxBytes: "1", rxErrors: "3", txBytes: "5", txErrors: "7" };
    const values = Object.fromEntries(Object.entries(counters).map(([key, value]) => [key, { value }]));
    assert.deepEqual(stats?.linux?.network, {
      timestamp: "2",
      defaultInterface: { name: "eth0", ...values },
      interfaces: [{ name: "tunl0", ...values }],
    });
    assert.deepEqual(stats?.linux?.process?.processCount, { value: "3" });
    assert.deepEqual(
      stats?.linux?.containers.map(({ attributes }) => attributes?.id),
      [ids[1]],
    );
  });

  it("are filtered by id, sandbox and labels", async () => {
    const { client: held, ids } = await filled();
    await using client = held;
    const [sandbox = "", container = ""] = ids;
    const found = async (filter: object | null) => (await client.ask.ListContainerStats({ filter })).stats.length;
    const filters = [null, { id: container.slice(0, 5) }, { podSandboxId: sandbox }, { labelSelector: { tier: "x" } }];
    assert.deepEqual(await Promise.all(filters.map(found)), [1, 1, 1, 1]);
    const others = [{ id: sandbox }, { podSandboxId: container }, { labelSelector: { tier: "y" } }, { id: "zz" }];
    assert.deepEqual(await Promise.all(others.map(found)), [0, 0, 0, 0]);
    const pods = async (filter: object) => (await client.ask.ListPodSandboxStats({ filter })).stats.length;
    assert.deepEqual(
      await Promise.all([{ id: sandbox.slice(0, 5) }, { labelSelector: { app: "b" } }].map(pods)),
      [1, 0],
    );
  });

  it("of what does not exist are NOT_FOUND, and of nothing INVALID_ARGUMENT", async () => {
    await using client = await connect();
    assert.equal((await failure(client.ask.ContainerStats({ containerId: "ab" }))).code, status.NOT_FOUND);
    assert.equal((await failure(client.ask.PodSandboxStats({ podSandboxId: "ab" }))).code, status.NOT_FOUND);
    assert.match((await failure(client.ask.ContainerStats({}))).details, /container_id is empty/);
  });

  it("leave out sandboxes that are not ready from lists", async () => {
    const { client: held, ids } = await filled();
    await using client = held;
    await client.ask.StopPodSandbox({ podSandboxId: ids[0] ?? "" });
    assert.deepEqual((await client.ask.ListPodSandboxStats({})).stats, []);
  });

  it("come as streams too", async () => {
    const { client: held } = await filled();
    await using client = held;
    const containers = await Array.fromAsync(client.runtime.StreamContainerStats({}));
    const sandboxes = await Array.fromAsync(client.runtime.StreamPodSandboxStats({}));
    const metrics = await Array.fromAsync(client.runtime.StreamPodSandboxMetrics({}));
    assert.deepEqual(
      [containers, sandboxes, metrics].map((messages) => messages.length),
      [1, 1, 1],
    );
    const { descriptors } = await client.ask.ListMetricDescriptors({});
    const { podMetrics } = await client.ask.ListPodSandboxMetrics({});
    assert.deepEqual(descriptors, [{ name: "container_threads", help: "Threads.", labelKeys: ["container"] }]);
    assert.deepEqual(podMetrics[0]?.metrics, [
      { name: "container_threads", timestamp: "3", metricType: "GAUGE", labelValues: ["c"], value: { value: "4" } },
    ]);
  });
});

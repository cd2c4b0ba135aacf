import assert from "node:assert/strict";
import test from "node:test";
import type { ClusterNode } from "./cluster-node.ts";
import { lookUntil } from "./look.ts";
import { fullName, podManifest, podNamespace, shell, waits } from "./pod.ts";

/** What tests read of the kubelet's summary. */
interface Summary {
  readonly pods: readonly {
    readonly podRef: { readonly name: string };
    readonly network?: { readonly rxBytes?: number };
    readonly containers?: readonly {
      readonly name: string;
      readonly cpu?: { readonly usageCoreNanoSeconds?: number };
      readonly memory?: { readonly workingSetBytes?: number };
      readonly rootfs?: { readonly usedBytes?: number };
    }[];
  }[];
}

const written = 8 << 20;

/** Tests of what the kubelet tells of what pods use; `fromRuntime`: it asks nobody else than the runtime. */
export function testStatistics(node: () => ClusterNode, fromRuntime: boolean): void {
  test("the kubelet tells what a container uses of processor, memory and disk", async () => {
    const script = `dd if=/dev/zero of=/file bs=1M count=${written >> 20} && ${waits}`;
    await node().apply(podManifest("measured", { containers: [shell("main", script)] }));
    await node().untilReady("measured");
    let seen: unknown;
    const look = async () => {
      const { pods }: Summary = JSON.parse(await node().kubelet.api.get("/stats/summary"));
      const pod = pods.find(({ podRef }) => podRef.name === fullName("measured"));
      seen = pod;
      const main = pod?.containers?.find(({ name }) => name === "main");
      const { cpu, memory, rootfs } = main ?? {};
      const isWhole = (rootfs?.usedBytes ?? 0) >= written && (!fromRuntime || pod?.network?.rxBytes !== undefined);
      return isWhole ? { cpu: cpu?.usageCoreNanoSeconds, memory: memory?.workingSetBytes } : undefined;
    };
    // The disk is walked in the background.
    const { cpu, memory } = await lookUntil("what the pod uses is told", look, undefined, () => seen);
    assert.ok(cpu !== undefined && cpu > 1e6 && cpu < 60e9, `${cpu} ns of processor time`);
    assert.ok(memory !== undefined && memory > 10_000 && memory < 256 << 20, `${memory} bytes of memory`);
    const resources = await node().kubelet.api.get("/metrics/resource");
    for (const name of ["container_cpu_usage_seconds_total", "container_memory_working_set_bytes"]) {
      assert.ok((metricOf(resources, name, "measured") ?? 0) > 0, name);
    }
  });

  // Else they are cAdvisor's own, which knows no container of nacelle.
  if (fromRuntime) testMetrics(node);
}

function testMetrics(node: () => ClusterNode): void {
  test("the kubelet's metrics of containers have the names and labels that cAdvisor's have", async () => {
    await node().apply(podManifest("metered", { containers: [shell("main", waits)] }));
    await node().untilReady("metered");
    await lookUntil("the metrics of a container", async () => {
      const metrics = await node().kubelet.api.get("/metrics/cadvisor");
      // Values are whole numbers in the runtime's interface: of processor time there is less than one second.
      const processor = metricOf(metrics, "container_cpu_usage_seconds_total", "metered");
      const memory = metricOf(metrics, "container_memory_working_set_bytes", "metered") ?? 0;
      return processor !== undefined && memory > 0 ? true : undefined;
    });
  });
}

/** The value of a metric of container main of a pod; undefined where there is none. */
function metricOf(metrics: string, name: string, pod: string): number | undefined {
  const labels = [`container="main"`, `pod="${fullName(pod)}"`, `namespace="${podNamespace}"`];
  const line = metrics
    .split("\n")
    .find((each) => each.startsWith(`${name}{`) && labels.every((label) => each.includes(label)));
  const value = line?.slice(line.indexOf("} ") + 2).split(" ")[0];
  return value === undefined ? undefined : Number(value);
}

import assert from "node:assert/strict";
import { readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { after, before, describe } from "node:test";
import { status } from "@grpc/grpc-js";
import { TestNode } from "../harness/test-node.ts";
import { inForce, pod, removePod, scores, shown, skipWithoutV1 } from "./limits.ts";

const MiB = 1 << 20;
/** One field after the other, and what the kernel has in force then. */
const STEPS = [
  [{ cpuShares: "512" }, { shares: 512 }],
  [{ cpuQuota: "50000" }, { quota: 50_000, period: 100_000 }],
  [{ cpuPeriod: "50000" }, { quota: 50_000, period: 50_000 }],
  [
    { cpuPeriod: "200000", cpuQuota: "400000" },
    { quota: 400_000, period: 200_000 },
  ],
  [{ cpuQuota: "-1" }, { quota: -1, period: 200_000 }],
  [{ memoryLimitInBytes: String(256 * MiB) }, { memory: 256 * MiB, memoryAndSwap: 256 * MiB }],
  [{ memoryLimitInBytes: String(48 * MiB) }, { memory: 48 * MiB, memoryAndSwap: 48 * MiB }],
  [{ memorySwapLimitInBytes: String(96 * MiB) }, { memory: 48 * MiB, memoryAndSwap: 96 * MiB }],
  [{ memoryLimitInBytes: String(128 * MiB) }, { memory: 128 * MiB, memoryAndSwap: 176 * MiB }],
  [{ memorySwapLimitInBytes: "-1" }, { memory: 128 * MiB, memoryAndSwap: Number.POSITIVE_INFINITY }],
  [{ memoryLimitInBytes: "-1" }, { memory: Number.POSITIVE_INFINITY, memoryAndSwap: Number.POSITIVE_INFINITY }],
  [
    { memoryLimitInBytes: String(64 * MiB), memorySwapLimitInBytes: String(64 * MiB) },
    { memory: 64 * MiB, memoryAndSwap: 64 * MiB },
  ],
  [{ cpusetCpus: "0" }, { cpus: "0" }],
  [{ hugepageLimits: [{ pageSize: "2MB", limit: String(4 * MiB) }] }, { hugepages: 4 * MiB }],
  [{ cpuShares: "1024" }, { shares: 1024, hugepages: 4 * MiB }],
  [{ hugepageLimits: [{ pageSize: "2MB", limit: "0" }] }, { hugepages: 0 }],
] as const;

for (const handler of ["runc", "crun"]) {
  describe(`the resources of a container of ${handler}`, { skip: skipWithoutV1 }, () => {
    let node: TestNode;

    before(async () => {
      node = await TestNode.start();
    });
    after(async () => {
      await using _node = node;
      await node.assertCleanEnd();
    });

    const update = (containerId: string, linux: object) =>
      node.cri.call("UpdateContainerResources", { containerId, linux });

    test("are changed one field at a time, and nothing else is", async () => {
      const one = await pod(node, `fields-${handler}`, { handler });
      let expected = await inForce(one.containerId);
      for (const [linux, change] of STEPS) {
        await update(one.containerId, linux);
        expected = { ...expected, ...change };
        assert.deepEqual(await inForce(one.containerId), expected, JSON.stringify(linux));
        // As a kubelet repeats what it got no answer for.
        await update(one.containerId, linux);
        assert.deepEqual(await inForce(one.containerId), expected, `${JSON.stringify(linux)} again`);
      }
      assert.deepEqual(await shown(node, one.containerId), {
        cpuShares: "1024",
        cpuQuota: "-1",
        cpuPeriod: "200000",
        memoryLimitInBytes: String(64 * MiB),
        memorySwapLimitInBytes: String(64 * MiB),
        oomScoreAdj: "500",
        cpusetCpus: "0",
        hugepageLimits: [{ pageSize: "2MB", limit: "0" }],
      });
      await removePod(node, one);
    });

    test("stay after a restart and a crash of the server, and are what the next update changes", async () => {
      const one = await pod(node, `restart-${handler}`, { handler });
      const linux = { cpuShares: "300", memoryLimitInBytes: String(80 * MiB), oomScoreAdj: "700" };
      await update(one.containerId, linux);
      const kept = await inForce(one.containerId);
      const told = await shown(node, one.containerId);
      for (const end of ["stop", "kill"] as const) {
        await node.server[end]();
        await node.server.restart();
        assert.deepEqual(await inForce(one.containerId), kept);
        assert.deepEqual(await shown(node, one.containerId), told);
      }
      await update(one.containerId, { cpuQuota: "70000" });
      assert.deepEqual(await inForce(one.containerId), { ...kept, quota: 70_000 });
      assert.deepEqual(await shown(node, one.containerId), { ...told, cpuQuota: "70000" });
      await removePod(node, one);
    });

    test("of one that is created are in force when it is started, whatever happens to the server between", async () => {
      const one = await pod(node, `created-${handler}`, { handler, created: true });
      await update(one.containerId, { memoryLimitInBytes: String(96 * MiB), cpuShares: "256", oomScoreAdj: "600" });
      const kept = await inForce(one.containerId);
      assert.deepEqual([kept.memory, kept.shares], [96 * MiB, 256]);
      await node.server.kill();
      await node.server.restart();
      await node.cri.call("StartContainer", { containerId: one.containerId });
      assert.deepEqual(await inForce(one.containerId), kept);
      assert.deepEqual(new Set(await scores(one.containerId)), new Set([600]));
      await removePod(node, one);
    });

    test("hold the oom_score_adj of all processes", async () => {
      const one = await pod(node, `score-${handler}`, { handler, command: "sleep 1000 & sleep 1001 & wait" });
      await update(one.containerId, { oomScoreAdj: "800" });
      assert.deepEqual(new Set(await scores(one.containerId)), new Set([800]));
      // As low as this host lets a process go.
      await update(one.containerId, { oomScoreAdj: "-900" });
      const [low = 0, ...others] = await scores(one.containerId);
      assert.ok(low === -900 || low === 0, `${low}`);
      assert.deepEqual(new Set(others), new Set([low]));
      await removePod(node, one);
    });

    test("are as they were when an update fails", async () => {
      const one = await pod(node, `fails-${handler}`, { handler });
      await update(one.containerId, { cpuQuota: "50000", cpusetCpus: "0", cpuShares: "512" });
      const kept = await inForce(one.containerId);
      const told = await shown(node, one.containerId);
      for (const linux of [
        { cpuShares: "2000", cpuQuota: "20000", cpusetCpus: "7000" },
        { cpuShares: "2000", memoryLimitInBytes: "4096", memorySwapLimitInBytes: "4096" },
      ]) {
        await assert.rejects(update(one.containerId, linux), { code: status.INTERNAL });
        assert.deepEqual(await inForce(one.containerId), kept);
        assert.deepEqual(await shown(node, one.containerId), told);
      }
      await removePod(node, one);
    });

    test("are as they were when the sandbox's cgroup has less, and the error says so", async () => {
      const cgroup = `/nacelle-conformance/small-${handler}`;
      const one = await pod(node, `small-${handler}`, { handler, cgroupParent: cgroup });
      await writeFile(join("/sys/fs/cgroup/cpu", cgroup, "cpu.cfs_quota_us"), "100000");
      const update = (linux: object) =>
        node.cri.call("UpdateContainerResources", { containerId: one.containerId, linux });
      // Twice as much and half as long: each alone would be too much, or too little, for a moment.
      await update({ cpuQuota: "100000", cpuPeriod: "100000" });
      await update({ cpuQuota: "50000", cpuPeriod: "50000" });
      await update({ cpuQuota: "200000", cpuPeriod: "200000" });
      await assert.rejects(update({ cpuQuota: "300000" }), /FAILED_PRECONDITION.*limits of the sandbox's cgroup/);
      assert.deepEqual((await shown(node, one.containerId))["cpuQuota"], "200000");
      const quota = await readFile(join("/sys/fs/cgroup/cpu", cgroup, one.containerId, "cpu.cfs_quota_us"), "utf8");
      assert.equal(quota.trim(), "200000");
      await removePod(node, one);
      for (const name of await readdir("/sys/fs/cgroup")) await rmdir(join("/sys/fs/cgroup", name, cgroup));
    });

    test("are one update at a time: of many at once each is in force, or none was refused", async () => {
      const one = await pod(node, `many-${handler}`, { handler });
      const shares = Array.from({ length: 8 }, (_, index) => String(1000 + index));
      await Promise.all(shares.map((cpuShares) => update(one.containerId, { cpuShares })));
      await Promise.all([
        update(one.containerId, { cpuQuota: "60000" }),
        update(one.containerId, { memoryLimitInBytes: String(72 * MiB) }),
        update(one.containerId, { oomScoreAdj: "900" }),
      ]);
      const last = await inForce(one.containerId);
      assert.ok(shares.includes(String(last.shares)));
      assert.deepEqual([last.quota, last.memory], [60_000, 72 * MiB]);
      assert.equal((await shown(node, one.containerId)).cpuShares, String(last.shares));
      await removePod(node, one);
    });

    test("that cannot be given are refused by name and change nothing", async () => {
      const one = await pod(node, `refused-${handler}`, { handler });
      const kept = await inForce(one.containerId);
      const refused: readonly (readonly [object, RegExp])[] = [
        [{ cpuShares: "300000" }, /cpu_shares 300000/],
        [{ cpuPeriod: "10" }, /cpu_period 10/],
        [{ cpuQuota: "500" }, /cpu_quota 500/],
        [{ memorySwapLimitInBytes: "4096" }, /memory_swap_limit_in_bytes 4096 is below the memory limit/],
        [{ unified: { "memory.high": "1" } }, /memory.high needs cgroup v2/],
        [{ unified: { "cgroup.procs": "1" } }, /cgroup.procs is not a limit/],
        [{ hugepageLimits: [{ pageSize: "64KB", limit: "65536" }] }, /no hugetlb controller for 64KB/],
        [{ cpusetCpus: "a" }, /linux.cpuset_cpus/],
        [{ oomScoreAdj: "1001" }, /linux.oom_score_adj/],
      ];
      for (const [linux, message] of refused) {
        await assert.rejects(update(one.containerId, { cpuQuota: "40000", ...linux }), (error: Error) => {
          assert.match(error.message, message);
          assert.match(error.message, /INVALID_ARGUMENT/);
          return true;
        });
      }
      const windows = { containerId: one.containerId, linux: { cpuQuota: "40000" }, windows: { cpuShares: "1" } };
      const refusal = node.cri.call("UpdateContainerResources", windows);
      await assert.rejects(refusal, /UNIMPLEMENTED: windows: Windows containers are not implemented/);
      assert.deepEqual(await inForce(one.containerId), kept);
      // What a kubelet always sends, and what limits nothing, is no reason to refuse the rest.
      const harmless = { unified: { "memory.oom.group": "1" }, hugepageLimits: [{ pageSize: "64KB", limit: "0" }] };
      await update(one.containerId, { cpuQuota: "40000", ...harmless });
      assert.equal((await inForce(one.containerId)).quota, 40_000);
      await removePod(node, one);
    });

    test("of one that has ended, or never was, cannot be changed", async () => {
      const one = await pod(node, `ended-${handler}`, { handler });
      await node.cri.call("StopContainer", { containerId: one.containerId, timeout: "0" });
      await assert.rejects(update(one.containerId, { cpuShares: "2" }), { code: status.FAILED_PRECONDITION });
      await assert.rejects(update("f".repeat(64), { cpuShares: "2" }), { code: status.NOT_FOUND });
      await assert.rejects(update("", { cpuShares: "2" }), { code: status.INVALID_ARGUMENT });
      await removePod(node, one);
    });

    test("do not follow an annotation, and no request is needed to hold any", async () => {
      const one = await pod(node, `annotated-${handler}`, { handler });
      const kept = await inForce(one.containerId);
      const annotations = { "cpu-quota.crio.io": "disable", "io.kubernetes.cri-o.cgroup2-mount-hierarchy-rw": "true" };
      await node.cri.call("UpdateContainerResources", { containerId: one.containerId, annotations });
      await node.cri.call("UpdateContainerResources", { containerId: one.containerId, linux: {}, annotations });
      assert.deepEqual(await inForce(one.containerId), kept);
      await removePod(node, one);
    });
  });
}

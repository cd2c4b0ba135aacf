import assert from "node:assert/strict";
import { join } from "node:path";
import test, { after, before, describe } from "node:test";
import { Crictl } from "../crictl/crictl.ts";
import { exists } from "../harness/event.ts";
import { TestNode } from "../harness/test-node.ts";
import { skipWithoutTools } from "../harness/tools.ts";
import { type InForce, inForce, type Pod, pod, removePod, scores, skipWithoutV1 } from "./limits.ts";

/** Each flag that is of Linux, and what the kernel has in force then. */
const FLAGS: readonly (readonly [string, string, Partial<InForce>])[] = [
  ["--cpu-share", "700", { shares: 700 }],
  ["--cpu-quota", "30000", { quota: 30_000 }],
  ["--cpu-period", "60000", { period: 60_000 }],
  ["--memory", "134217728", { memory: 134_217_728, memoryAndSwap: 134_217_728 }],
  ["--cpuset-cpus", "0", { cpus: "0" }],
  ["--cpuset-mems", "0", {}],
];

for (const handler of ["runc", "crun"]) {
  describe(`crictl with ${handler}`, { skip: skipWithoutTools || skipWithoutV1 }, () => {
    let node: TestNode;
    let crictl: Crictl;
    let one: Pod;

    before(async () => {
      node = await TestNode.start();
      crictl = new Crictl(node.server);
      one = await pod(node, `crictl-${handler}`, { handler });
    });
    after(async () => {
      await using _node = node;
      await removePod(node, one);
      await node.assertCleanEnd();
    });

    test("update changes what a flag names and nothing else, one by one and all at once", async () => {
      let expected = await inForce(one.containerId);
      for (const [flag, value, change] of FLAGS) {
        await crictl.run("update", flag, value, one.containerId);
        expected = { ...expected, ...change };
        assert.deepEqual(await inForce(one.containerId), expected, flag);
      }
      const all = FLAGS.flatMap(([flag, value, _change]) => [flag, value]);
      await crictl.run("update", ...all, one.containerId);
      assert.deepEqual(await inForce(one.containerId), expected);
      const { status } = await crictl.json<{ status: { resources: { linux: { cpuShares: string } } } }>(
        "inspect",
        one.containerId,
      );
      assert.equal(status.resources.linux.cpuShares, "700");
    });

    // crictl 1.36 reads the text of its flag as a number and sends 0, "not specified".
    test("update --oom-score-adj is accepted, whether crictl sends it or not", async () => {
      await crictl.run("update", "--oom-score-adj", "600", one.containerId);
      const set = new Set(await scores(one.containerId));
      assert.ok(set.size === 1 && (set.has(600) || set.has(500)), [...set].join());
    });

    test("update of a container that is not there says so", async () => {
      const { code, stderr } = await crictl.attempt("update", "--cpu-share", "2", "f".repeat(64));
      assert.notEqual(code, 0);
      assert.match(stderr, /NotFound/);
    });

    test("checkpoint writes a file, or says what it lacks and leaves none", async () => {
      const file = join(node.server.paths.folder, "checkpoint.tar");
      const { code, stderr } = await crictl.attempt("checkpoint", `--export=${file}`, one.containerId);
      assert.equal(await exists(file), code === 0);
      if (code !== 0) assert.match(stderr, /FailedPrecondition.*(install|use a runtime handler)/);
    });
  });
}

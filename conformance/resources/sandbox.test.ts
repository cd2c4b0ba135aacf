import assert from "node:assert/strict";
import test, { after, before, describe } from "node:test";
import { status } from "@grpc/grpc-js";
import type { Message } from "../harness/cri-answers.ts";
import { sandboxConfig } from "../harness/cri-configs.ts";
import { TestNode } from "../harness/test-node.ts";

describe("the resources of a sandbox", () => {
  let node: TestNode;

  before(async () => {
    node = await TestNode.start();
  });
  after(async () => {
    await using _node = node;
    await node.assertCleanEnd();
  });

  async function shown(podSandboxId: string): Promise<{ readonly overhead?: Message; readonly resources?: Message }> {
    const { info } = await node.cri.call("PodSandboxStatus", { podSandboxId, verbose: true });
    return JSON.parse(info["info"] ?? "{}");
  }

  test("are those of its configuration, then the latest that were announced, also after a crash", async () => {
    const { podSandboxId } = await node.cri.call("RunPodSandbox", { config: sandboxConfig("announced") });
    assert.equal((await shown(podSandboxId)).resources?.["cpuShares"], 2);
    const update = (request: object) => node.cri.call("UpdatePodSandboxResources", { podSandboxId, ...request });
    await update({ resources: { cpuShares: "512", memoryLimitInBytes: "134217728" }, overhead: { cpuShares: "10" } });
    await update({ resources: { cpuShares: "768", memoryLimitInBytes: "134217728" } });
    await node.server.kill();
    await node.server.restart();
    const { resources, overhead } = await shown(podSandboxId);
    assert.deepEqual([resources?.["cpuShares"], resources?.["memoryLimitBytes"]], [768, 134_217_728]);
    assert.equal(overhead?.["cpuShares"], 10);
    await node.cri.call("StopPodSandbox", { podSandboxId });
    await assert.rejects(update({ resources: {} }), { code: status.FAILED_PRECONDITION });
    await node.cri.call("RemovePodSandbox", { podSandboxId });
    await assert.rejects(update({ resources: {} }), { code: status.NOT_FOUND });
  });

  test("that are none are refused by name", async () => {
    const { podSandboxId } = await node.cri.call("RunPodSandbox", { config: sandboxConfig("refused") });
    const update = node.cri.call("UpdatePodSandboxResources", { podSandboxId, overhead: { cpuShares: "-1" } });
    await assert.rejects(update, /INVALID_ARGUMENT.*overhead\.cpu_shares/);
    await node.cri.call("RemovePodSandbox", { podSandboxId });
  });
});

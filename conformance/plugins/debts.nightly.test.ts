import assert from "node:assert/strict";
import test from "node:test";
import { status } from "@grpc/grpc-js";
import { hasStatus } from "../harness/cri-client.ts";
import { sandboxConfig } from "../harness/cri-configs.ts";
import { Gated } from "../harness/gated.ts";
import { TestNode } from "../harness/test-node.ts";

/** Longer than a failing DEL may keep a pod from being stopped, 30 s, and than the first pauses between payments. */
const patienceMs = 60_000;

for (const paidBy of ["the server that owes it", "the next server"]) {
  test(`a DEL that fails for 30 s becomes a debt, which is in nobody's way and is paid by ${paidBy}`, async () => {
    await using plugin = await Gated.plugin("bridge");
    await using node = await TestNode.start({ settings: { "cni.binDirs": `[${plugin.binDir}, /usr/lib/cni]` } });
    const config = sandboxConfig("owes");
    const { podSandboxId } = await node.cri.call("RunPodSandbox", { config });
    await plugin.set("DEL", "fail");
    const began = performance.now();
    await stopAtLast(node, podSandboxId);
    assert.ok(performance.now() - began >= 30_000);
    await node.cri.call("RemovePodSandbox", { podSandboxId });
    assert.deepEqual((await node.cri.call("ListPodSandbox", {})).items, []);
    // The name is free and so is the way for others, although the address is not.
    const again = await node.cri.call("RunPodSandbox", { config });
    assert.notEqual(again.podSandboxId, podSandboxId);
    await plugin.set("DEL", "pass");
    await node.cri.call("RemovePodSandbox", again);
    if (paidBy === "the next server") {
      await node.server.stop();
      await node.server.restart();
    }
    await node.assertClean(patienceMs);
    await node.assertCleanEnd();
  });
}

/** As a kubelet does, which repeats StopPodSandbox for ever. */
async function stopAtLast(node: TestNode, podSandboxId: string): Promise<void> {
  const deadline = AbortSignal.timeout(patienceMs);
  for (;;) {
    try {
      await node.cri.call("StopPodSandbox", { podSandboxId });
      return;
    } catch (error) {
      if (deadline.aborted || !hasStatus(error, status.UNAVAILABLE)) throw error;
    }
  }
}

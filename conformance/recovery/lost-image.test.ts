import assert from "node:assert/strict";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { containerConfig, sandboxConfig } from "../harness/cri-configs.ts";
import { TestNode } from "../harness/test-node.ts";

test("a server whose containers have lost their image starts, and removes them when asked", async () => {
  await using node = await TestNode.start();
  const config = sandboxConfig("imageless");
  const { podSandboxId } = await node.cri.call("RunPodSandbox", { config });
  const request = { podSandboxId, sandboxConfig: config, config: containerConfig("imageless") };
  const { containerId } = await node.cri.call("CreateContainer", request);
  await node.cri.call("StartContainer", { containerId });
  await node.cri.call("StopContainer", { containerId });
  await node.server.kill();
  const layers = join(node.server.paths.root, "layers");
  for (const name of await readdir(layers)) await rm(join(layers, name), { recursive: true });
  await node.server.restart();
  const { containers } = await node.cri.call("ListContainers", {});
  assert.deepEqual(
    containers.map(({ id }) => id),
    [containerId],
  );
  assert.match(await node.server.logTail(), /has lost its image/);
  await node.cri.call("StopPodSandbox", { podSandboxId });
  await node.cri.call("RemovePodSandbox", { podSandboxId });
  await node.assertCleanEnd();
});

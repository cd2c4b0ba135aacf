import test from "node:test";
import { containerConfig, sandboxConfig } from "../harness/cri-configs.ts";
import { TestNode } from "../harness/test-node.ts";
import { processes } from "./processes.ts";

// It takes the time in which a monitor that is only slow is waited for.
test("a monitor that hangs keeps its pod neither from being stopped nor from being removed", async () => {
  await using node = await TestNode.start();
  const config = sandboxConfig("hung");
  const { podSandboxId } = await node.cri.call("RunPodSandbox", { config });
  const request = { podSandboxId, sandboxConfig: config, config: containerConfig("hung") };
  const { containerId } = await node.cri.call("CreateContainer", request);
  await node.cri.call("StartContainer", { containerId });
  for (const pid of await processes("nacelle-monitor")) process.kill(pid, "SIGSTOP");
  await node.cri.call("StopPodSandbox", { podSandboxId });
  await node.cri.call("RemovePodSandbox", { podSandboxId });
  await node.assertCleanEnd();
});

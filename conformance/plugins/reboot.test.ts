import assert from "node:assert/strict";
import test from "node:test";
import { containerConfig, sandboxConfig } from "../harness/cri-configs.ts";
import { Gated } from "../harness/gated.ts";
import { simulateReboot } from "../harness/reboot.ts";
import { TestNode } from "../harness/test-node.ts";

test("after a reboot nothing looks alive, addresses are given back without a namespace, and all can be removed", async () => {
  await using plugin = await Gated.plugin("bridge");
  await using node = await TestNode.start({ settings: { "cni.binDirs": `[${plugin.binDir}, /usr/lib/cni]` } });
  const { cri, server } = node;
  const config = sandboxConfig("rebooted", {
    portMappings: [{ containerPort: 80, hostPort: 18_080, protocol: "TCP" }],
  });
  const { podSandboxId } = await cri.call("RunPodSandbox", { config });
  const shared = await cri.call("RunPodSandbox", { config: sandboxConfig("with-pause", { pid: "POD" }) });
  const create = async (name: string, start: boolean, command?: readonly string[]) => {
    const asked = containerConfig(name, command === undefined ? {} : { command });
    const { containerId } = await cri.call("CreateContainer", { podSandboxId, sandboxConfig: config, config: asked });
    if (start) await cri.call("StartContainer", { containerId });
    return containerId;
  };
  const running = await create("running", true);
  const created = await create("created", false);
  const stopped = await create("stopped", true, [
    "sh",
    "-c",
    "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done",
  ]);
  await cri.call("ExecSync", { containerId: stopped, cmd: ["true"], timeout: "10" });
  await cri.call("StopContainer", { containerId: stopped, timeout: "30" });
  const before = await cri.call("ContainerStatus", { containerId: stopped });

  await server.stop();
  await simulateReboot(server.paths);
  const calls = (await plugin.calls("DEL")).length;
  await plugin.set("DEL", "hold"); // the network's own pods may have to start first
  await server.restart();

  for (const { id, state } of (await cri.call("ListPodSandbox", {})).items) {
    assert.equal(state, "SANDBOX_NOTREADY", id);
  }
  for (const containerId of [running, created]) {
    const { state, exitCode, reason } = (await cri.call("ContainerStatus", { containerId })).status;
    assert.deepEqual([state, exitCode, reason], ["CONTAINER_EXITED", 255, "Rebooted"]);
  }
  const { status } = await cri.call("ContainerStatus", { containerId: stopped });
  assert.deepEqual(
    [status.state, status.exitCode, status.finishedAt],
    ["CONTAINER_EXITED", before.status.exitCode, before.status.finishedAt],
  );
  await plugin.held(2);
  const again = sandboxConfig("rebooted", { attempt: 1 });
  const made = await cri.call("RunPodSandbox", { config: again });
  await plugin.set("DEL", "pass");
  await plugin.release(2);
  for (const id of [podSandboxId, shared.podSandboxId, made.podSandboxId]) {
    await cri.call("StopPodSandbox", { podSandboxId: id });
    await cri.call("RemovePodSandbox", { podSandboxId: id });
  }
  await node.assertClean();
  const deletions = (await plugin.calls("DEL")).slice(calls).map(({ subject }) => subject);
  assert.deepEqual(deletions.toSorted().slice(0, 2), ["", ""], "the namespaces are gone, so CNI_NETNS is empty");
  await node.assertCleanEnd();
});

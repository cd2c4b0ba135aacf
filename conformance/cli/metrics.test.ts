import assert from "node:assert/strict";
import { join } from "node:path";
import test from "node:test";
import { containerConfig, sandboxConfig } from "../harness/cri-configs.ts";
import { TestNode } from "../harness/test-node.ts";
import { processes } from "../recovery/processes.ts";
import { ask } from "./ask.ts";

test("metrics and health tell what a pod has cost and what is missing, on the socket and over TCP", async () => {
  const settings = { "metrics.listen": "127.0.0.1:9409" };
  await using node = await TestNode.start({ defaultRuntime: "crun", settings });
  const socket = join(node.server.paths.runDir, "admin.sock");
  const { podSandboxId } = await node.cri.call("RunPodSandbox", { config: sandboxConfig("measured") });
  const { containerId } = await node.cri.call("CreateContainer", { podSandboxId, config: containerConfig("c") });
  await node.cri.call("StartContainer", { containerId });
  await assert.rejects(node.cri.call("ContainerStatus", { containerId: "ffff" }), /not found/);

  const { body } = await ask(socket, "/metrics");
  for (const line of [
    /^nacelle_rpc_total\{method="RunPodSandbox",code="OK"\} 1$/m,
    /^nacelle_rpc_total\{method="ContainerStatus",code="NOT_FOUND"\} 1$/m,
    /^nacelle_rpc_duration_seconds_count\{method="StartContainer"\} 1$/m,
    /^nacelle_creation_stage_duration_seconds_count\{kind="sandbox",stage="waiting for the CNI plugins \(ADD\)"\} 1$/m,
    /^nacelle_creation_stage_duration_seconds_count\{kind="container",stage="waiting for crun create"\} 1$/m,
    /^nacelle_cni_plugin_duration_seconds_count\{plugin="bridge",operation="ADD"\} 1$/m,
    /^nacelle_image_pulled_bytes_total [1-9]\d*$/m,
    /^nacelle_sandboxes\{state="ready"\} 1$/m,
    /^nacelle_containers\{state="running"\} 1$/m,
    /^nacelle_monitors 1$/m,
    /^nacelle_network_debts 0$/m,
    /^nacelle_launcher_operations\{state="stuck"\} 0$/m,
    /^nacelle_state_syncs_total [1-9]\d*$/m,
    /^nacelle_event_loop_delay_seconds\{quantile="0\.99"\} /m,
  ]) {
    assert.match(body, line);
  }
  assert.ok(!body.includes(podSandboxId) && !body.includes("measured"), "a pod's name or id is in a label");

  const overTcp = await fetch("http://127.0.0.1:9409/metrics");
  assert.match(await overTcp.text(), /^nacelle_monitors 1$/m);
  assert.equal((await fetch("http://127.0.0.1:9409/state")).status, 404);

  assert.deepEqual(await ask(socket, "/healthz"), { status: 200, body: '{"status":"ok"}\n' });
  const launchers = await processes("nacelle-native");
  assert.ok(launchers.length > 0);
  for (const pid of launchers) process.kill(pid, "SIGKILL");
  const deadline = AbortSignal.timeout(30_000);
  while ((await ask(socket, "/healthz")).status !== 200) deadline.throwIfAborted();
  await node.cri.call("StopPodSandbox", { podSandboxId });
  await node.cri.call("RemovePodSandbox", { podSandboxId });
  await node.assertCleanEnd();
});

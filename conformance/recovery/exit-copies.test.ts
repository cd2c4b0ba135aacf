import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { parseExitRecord } from "../../src/monitor/record.ts";
import { containerConfig, sandboxConfig } from "../harness/cri-configs.ts";
import { changedUntil } from "../harness/event.ts";
import { simulateReboot } from "../harness/reboot.ts";
import { TestNode } from "../harness/test-node.ts";

test("an exit that nobody had stored before a reboot is told truly after it, and only that one", async () => {
  await using node = await TestNode.start();
  const { cri, server } = node;
  const exits = join(server.paths.root, "exits");
  const config = sandboxConfig("unseen");
  const { podSandboxId } = await cri.call("RunPodSandbox", { config });
  const run = async (name: string) => {
    const command = ["sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done"];
    const request = { podSandboxId, sandboxConfig: config, config: containerConfig(name, { command }) };
    const { containerId } = await cri.call("CreateContainer", request);
    await cri.call("StartContainer", { containerId });
    await cri.call("ExecSync", { containerId, cmd: ["true"], timeout: "10" });
    return containerId;
  };
  const [seen, unseen, stays] = [await run("seen"), await run("unseen"), await run("stays")];
  await cri.call("StopContainer", { containerId: seen, timeout: "30" });
  const before = await cri.call("ContainerStatus", { containerId: seen });
  const { info } = await cri.call("ContainerStatus", { containerId: unseen, verbose: true });
  const { pid }: { pid: number } = JSON.parse(info["info"] ?? "{}");

  await server.kill();
  process.kill(pid, "SIGTERM");
  const copy = join(exits, `${unseen}.exit`);
  const isWhole = () =>
    readFile(copy).then(
      (bytes) => parseExitRecord(bytes)?.state === "exited",
      () => false,
    );
  await changedUntil(exits, isWhole, AbortSignal.timeout(30_000));
  const record = parseExitRecord(await readFile(copy));
  assert.deepEqual(await readdir(exits), [`${unseen}.exit`]);
  await simulateReboot(server.paths);
  await server.restart();

  const { status } = await cri.call("ContainerStatus", { containerId: unseen });
  assert.deepEqual([status.state, status.exitCode, status.reason], ["CONTAINER_EXITED", 7, "Error"]);
  assert.equal(BigInt(status.finishedAt), record?.exitedNs);
  const { status: lost } = await cri.call("ContainerStatus", { containerId: stays });
  assert.deepEqual([lost.exitCode, lost.reason], [255, "Rebooted"]);
  const after = await cri.call("ContainerStatus", { containerId: seen });
  assert.equal(after.status.finishedAt, before.status.finishedAt);
  assert.deepEqual(await readdir(exits), []);
  await cri.call("StopPodSandbox", { podSandboxId });
  await cri.call("RemovePodSandbox", { podSandboxId });
  await node.assertClean();
  await node.assertCleanEnd();
});

test("a copy of an exit is removed once the exit is stored", async () => {
  await using node = await TestNode.start();
  const { cri, server } = node;
  const exits = join(server.paths.root, "exits");
  const config = sandboxConfig("stored");
  const { podSandboxId } = await cri.call("RunPodSandbox", { config });
  const request = {
    podSandboxId,
    sandboxConfig: config,
    config: containerConfig("ends", { command: ["sleep", "1000"] }),
  };
  const { containerId } = await cri.call("CreateContainer", request);
  await cri.call("StartContainer", { containerId });
  const { info } = await cri.call("ContainerStatus", { containerId, verbose: true });
  const { pid }: { pid: number } = JSON.parse(info["info"] ?? "{}");
  await server.kill();
  process.kill(pid, "SIGKILL");
  await changedUntil(exits, async () => (await readdir(exits)).length === 1, AbortSignal.timeout(30_000));
  await server.restart();
  await changedUntil(exits, async () => (await readdir(exits)).length === 0, AbortSignal.timeout(30_000));
  await cri.call("StopPodSandbox", { podSandboxId });
  await cri.call("RemovePodSandbox", { podSandboxId });
  await node.assertClean();
  await node.assertCleanEnd();
});

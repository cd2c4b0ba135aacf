import assert from "node:assert/strict";
import { access, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { parseExitRecord } from "../../src/monitor/record.ts";
import { containerConfig, sandboxConfig } from "../harness/cri-configs.ts";
import { changedUntil } from "../harness/event.ts";
import { simulateReboot } from "../harness/reboot.ts";
import { TestNode } from "../harness/test-node.ts";
import { processes } from "./processes.ts";

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

/** The processes of the one monitor there is. */
async function children(monitor: number): Promise<readonly number[]> {
  const text = await readFile(`/proc/${monitor}/task/${monitor}/children`, "latin1");
  return text.split(" ").filter(Boolean).map(Number);
}

async function gone(pid: number): Promise<void> {
  const deadline = AbortSignal.timeout(30_000);
  while (
    await access(`/proc/${pid}`).then(
      () => true,
      () => false,
    )
  )
    deadline.throwIfAborted();
}

const ways = [
  { how: "and the machine has rebooted", isServed: false, reboots: true },
  { how: "and the server comes back without a reboot", isServed: false, reboots: false },
  { how: "under a server that goes on", isServed: true, reboots: false },
];

for (const { how, isServed, reboots } of ways) {
  test(`when all processes are told to end, ${how}, the monitor has gone by itself and exits are told truly`, async () => {
    await using node = await TestNode.start();
    const { cri, server } = node;
    const config = sandboxConfig("told", { pid: "POD" });
    const { podSandboxId } = await cri.call("RunPodSandbox", { config });
    const [monitor = 0] = await processes("nacelle-monitor");
    const [pause = 0] = await children(monitor);
    const command = ["sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done"];
    const request = { podSandboxId, sandboxConfig: config, config: containerConfig("told", { command }) };
    const { containerId } = await cri.call("CreateContainer", request);
    await cri.call("StartContainer", { containerId });
    await cri.call("ExecSync", { containerId, cmd: ["true"], timeout: "10" });
    const pids = (await children(monitor)).filter((pid) => pid !== pause);
    if (!isServed) await server.kill();

    process.kill(monitor, "SIGTERM");
    for (const pid of pids) process.kill(pid, "SIGTERM");
    for (const pid of pids) await gone(pid);
    process.kill(pause, "SIGTERM");
    await gone(monitor);
    if (reboots) await simulateReboot(server.paths);
    if (!isServed) await server.restart();

    const deadline = AbortSignal.timeout(30_000);
    for (;;) {
      const { status } = await cri.call("ContainerStatus", { containerId });
      // A server that goes on may not have read yet what the monitor has sent.
      if (isServed && status.state === "CONTAINER_RUNNING") {
        deadline.throwIfAborted();
        continue;
      }
      assert.deepEqual([status.state, status.exitCode, status.reason], ["CONTAINER_EXITED", 7, "Error"]);
      break;
    }
    await cri.call("StopPodSandbox", { podSandboxId });
    await cri.call("RemovePodSandbox", { podSandboxId });
    assert.deepEqual(await readdir(join(server.paths.root, "exits")), []);
    await node.assertClean();
    await node.assertCleanEnd();
  });
}

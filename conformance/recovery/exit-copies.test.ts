import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { parseExitRecord } from "../../src/monitor/record.ts";
import type { SandboxOptions } from "../harness/cri-configs.ts";
import { changedUntil, exists, written } from "../harness/event.ts";
import { patience } from "../harness/patience.ts";
import { Pod } from "../harness/pod.ts";
import { simulateReboot } from "../harness/reboot.ts";
import { TestNode } from "../harness/test-node.ts";
import { endOf, until } from "../harness/until.ts";
import { processes } from "./processes.ts";

const soon = () => AbortSignal.timeout(patience(30_000));

/** A pod, and how a container of it is started that ends with 7 when it is told to. */
async function trappingPod(node: TestNode, name: string, options: SandboxOptions = {}) {
  const logDirectory = await node.logDirectory(name);
  const pod = await Pod.run(node, name, { ...options, logDirectory });
  const start = async (container: string) => {
    const command = ["sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done"];
    const logPath = `${container}.log`;
    const id = await pod.start(container, { command, logPath });
    // Told to end before it has set its trap, it would end otherwise, or not at all.
    await written(join(logDirectory, logPath), "ready", soon());
    return id;
  };
  return { pod, start };
}

async function pidOf({ cri }: TestNode, containerId: string): Promise<number> {
  const { info } = await cri.call("ContainerStatus", { containerId, verbose: true });
  return JSON.parse(info["info"] ?? "{}").pid;
}

test("an exit that nobody had stored before a reboot is told truly after it, and only that one", async () => {
  await using node = await TestNode.start();
  const { cri, server } = node;
  const exits = join(server.paths.root, "exits");
  const { pod, start } = await trappingPod(node, "unseen");
  const [seen, unseen, stays] = [await start("seen"), await start("unseen"), await start("stays")];
  await cri.call("StopContainer", { containerId: seen, timeout: "30" });
  const before = await cri.call("ContainerStatus", { containerId: seen });
  const pid = await pidOf(node, unseen);

  await server.kill();
  process.kill(pid, "SIGTERM");
  const copy = join(exits, `${unseen}.exit`);
  const isWhole = () =>
    readFile(copy).then(
      (bytes) => parseExitRecord(bytes)?.state === "exited",
      () => false,
    );
  await changedUntil(exits, isWhole, soon());
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
  await pod.remove();
  await node.assertClean();
  await node.assertCleanEnd();
});

test("a copy of an exit is removed once the exit is stored", async () => {
  await using node = await TestNode.start();
  const { server } = node;
  const exits = join(server.paths.root, "exits");
  const pod = await Pod.run(node, "stored");
  const pid = await pidOf(node, await pod.start("ends", { command: ["sleep", "1000"] }));
  await server.kill();
  process.kill(pid, "SIGKILL");
  await changedUntil(exits, async () => (await readdir(exits)).length === 1, soon());
  await server.restart();
  await changedUntil(exits, async () => (await readdir(exits)).length === 0, soon());
  await pod.remove();
  await node.assertClean();
  await node.assertCleanEnd();
});

/** The processes of the one monitor there is. */
async function children(monitor: number): Promise<readonly number[]> {
  const text = await readFile(`/proc/${monitor}/task/${monitor}/children`, "latin1");
  return text.split(" ").filter(Boolean).map(Number);
}

async function gone(pid: number): Promise<void> {
  await until(`process ${pid} has gone`, async () => !(await exists(`/proc/${pid}`)));
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
    const { pod, start } = await trappingPod(node, "told", { pid: "POD" });
    const [monitor = 0] = await processes("nacelle-monitor");
    const [pause = 0] = await children(monitor);
    const containerId = await start("told");
    const pids = (await children(monitor)).filter((pid) => pid !== pause);
    if (!isServed) await server.kill();

    process.kill(monitor, "SIGTERM");
    for (const pid of pids) process.kill(pid, "SIGTERM");
    for (const pid of pids) await gone(pid);
    process.kill(pause, "SIGTERM");
    await gone(monitor);
    if (reboots) await simulateReboot(server.paths);
    if (!isServed) await server.restart();

    // A server that goes on may not have read yet what the monitor has sent.
    const status = isServed
      ? await endOf(cri, containerId)
      : (await cri.call("ContainerStatus", { containerId })).status;
    assert.deepEqual([status.state, status.exitCode, status.reason], ["CONTAINER_EXITED", 7, "Error"]);
    await pod.remove();
    assert.deepEqual(await readdir(join(server.paths.root, "exits")), []);
    await node.assertClean();
    await node.assertCleanEnd();
  });
}

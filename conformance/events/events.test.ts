import assert from "node:assert/strict";
import test, { after, before, describe } from "node:test";
import { status } from "@grpc/grpc-js";
import { CriClient } from "../harness/cri-client.ts";
import { type ContainerOptions, containerConfig, sandboxConfig } from "../harness/cri-configs.ts";
import { TestNode } from "../harness/test-node.ts";
import { processes } from "../recovery/processes.ts";
import { EventLog, shortType } from "./event-log.ts";

const whole = ["CREATED", "STARTED", "STOPPED", "DELETED"];

describe("GetContainerEvents", () => {
  const owned = new AsyncDisposableStack();
  let node: TestNode;

  before(async () => {
    node = owned.use(await TestNode.start({ defaultRuntime: "crun" }));
  });
  after(() => owned.disposeAsync());

  const runSandbox = async (name: string, config = sandboxConfig(name)) =>
    (await node.cri.call("RunPodSandbox", { config })).podSandboxId;
  const create = async (podSandboxId: string, options: ContainerOptions = {}) =>
    (await node.cri.call("CreateContainer", { podSandboxId, config: containerConfig("c", options) })).containerId;
  const removeSandbox = async (podSandboxId: string) => {
    await node.cri.call("StopPodSandbox", { podSandboxId });
    await node.cri.call("RemovePodSandbox", { podSandboxId });
  };

  test("every subscriber is told the whole life of a pod, each event with the pod as it was then", async () => {
    using first = await EventLog.open(node.cri);
    using other = CriClient.connect(node.server.paths.socket);
    using second = await EventLog.open(other);
    const podSandboxId = await runSandbox("life");
    const containerId = await create(podSandboxId);
    await node.cri.call("StartContainer", { containerId });
    await node.cri.call("StopContainer", { containerId, timeout: 10 });
    await node.cri.call("RemoveContainer", { containerId });
    await removeSandbox(podSandboxId);
    await Promise.all([first, second].map((log) => log.until(podSandboxId, "DELETED")));
    const told = first.events.map((event) => [
      ...[event.containerId === podSandboxId ? "pod" : "container", shortType(event)],
      ...[event.podSandboxStatus?.state, event.containersStatuses.map(({ state }) => state).join()],
    ]);
    assert.deepEqual(told, [
      ["pod", "CREATED", "SANDBOX_READY", ""],
      ["pod", "STARTED", "SANDBOX_READY", ""],
      ["container", "CREATED", "SANDBOX_READY", "CONTAINER_CREATED"],
      ["container", "STARTED", "SANDBOX_READY", "CONTAINER_RUNNING"],
      ["container", "STOPPED", "SANDBOX_READY", "CONTAINER_EXITED"],
      ["container", "DELETED", "SANDBOX_READY", ""],
      ["pod", "STOPPED", "SANDBOX_NOTREADY", ""],
      ["pod", "DELETED", "SANDBOX_NOTREADY", ""],
    ]);
    assert.deepEqual(second.events, first.events);
    assert.ok(first.events.every(({ podSandboxStatus }) => podSandboxStatus?.id === podSandboxId));
  });

  test("an exit is told without any call, with its code", async () => {
    using log = await EventLog.open(node.cri);
    const podSandboxId = await runSandbox("exit");
    const containerId = await create(podSandboxId, { command: ["sh", "-c", "exit 7"] });
    await node.cri.call("StartContainer", { containerId });
    const { containersStatuses, createdAt } = await log.until(containerId, "STOPPED");
    assert.deepEqual(
      containersStatuses.map(({ state, exitCode }) => [state, exitCode]),
      [["CONTAINER_EXITED", 7]],
    );
    const { timestamp, containersStatuses: now } = await node.cri.call("PodSandboxStatus", { podSandboxId });
    assert.ok(BigInt(timestamp) > BigInt(createdAt));
    assert.deepEqual(now, containersStatuses);
    await removeSandbox(podSandboxId);
  });

  test("containers are told as stopped before their sandbox, though it alone was asked to stop", async () => {
    using log = await EventLog.open(node.cri);
    const podSandboxId = await runSandbox("stopped");
    const containerId = await create(podSandboxId);
    await node.cri.call("StartContainer", { containerId });
    await removeSandbox(podSandboxId);
    await log.until(podSandboxId, "DELETED");
    const ends = log.events.slice(4).map((event) => [event.containerId, shortType(event)]);
    assert.deepEqual(ends, [
      [containerId, "STOPPED"],
      [podSandboxId, "STOPPED"],
      [containerId, "DELETED"],
      [podSandboxId, "DELETED"],
    ]);
  });

  test("a crash loop is told attempt by attempt, each once and in order", async () => {
    using log = await EventLog.open(node.cri);
    const podSandboxId = await runSandbox("loop");
    const ids: string[] = [];
    for (let attempt = 0; attempt < 20; attempt += 1) {
      const containerId = await create(podSandboxId, { attempt, command: ["false"] });
      await node.cri.call("StartContainer", { containerId });
      const stopped = await log.until(containerId, "STOPPED");
      assert.equal(stopped.containersStatuses.find(({ id }) => id === containerId)?.exitCode, 1);
      await node.cri.call("RemoveContainer", { containerId });
      ids.push(containerId);
    }
    await removeSandbox(podSandboxId);
    await log.until(podSandboxId, "DELETED");
    for (const id of ids) assert.deepEqual(log.typesOf(id), whole);
  });

  test("pods side by side are each told in order, and every event is later than the last", async () => {
    using log = await EventLog.open(node.cri);
    const pods = await Promise.all(
      Array.from({ length: 8 }, async (_, n) => {
        const podSandboxId = await runSandbox(`side-${n}`);
        const ids = await Promise.all(
          ["true", "false", "sleep 0.01"].map(async (command, attempt) => {
            const containerId = await create(podSandboxId, { attempt, command: ["sh", "-c", command] });
            await node.cri.call("StartContainer", { containerId });
            await log.until(containerId, "STOPPED");
            await node.cri.call("RemoveContainer", { containerId });
            return containerId;
          }),
        );
        await removeSandbox(podSandboxId);
        await log.until(podSandboxId, "DELETED");
        return [podSandboxId, ...ids];
      }),
    );
    for (const id of pods.flat()) assert.deepEqual(log.typesOf(id), whole);
    assert.equal(log.events.length, 8 * 4 * 4);
    const stamps = log.events.map(({ createdAt }) => BigInt(createdAt));
    assert.ok(stamps.every((stamp, at) => at === 0 || stamp > (stamps[at - 1] ?? 0n)));
  });

  test("a killed monitor is told as the end of its containers and of the sandbox", async () => {
    using log = await EventLog.open(node.cri);
    const podSandboxId = await runSandbox("lost");
    const containerId = await create(podSandboxId);
    await node.cri.call("StartContainer", { containerId });
    for (const pid of await processes("nacelle-monitor")) process.kill(pid, "SIGKILL");
    const { containersStatuses } = await log.until(containerId, "STOPPED");
    assert.equal(containersStatuses[0]?.reason, "MonitorLost");
    assert.equal((await log.until(podSandboxId, "STOPPED")).podSandboxStatus?.state, "SANDBOX_NOTREADY");
    await removeSandbox(podSandboxId);
  });

  test("streams end with UNAVAILABLE at SIGTERM, and pods that ended meanwhile are listed, not told of", async () => {
    using log = await EventLog.open(node.cri);
    const podSandboxId = await runSandbox("restart");
    const containerId = await create(podSandboxId);
    await node.cri.call("StartContainer", { containerId });
    const [{ code }, how] = await Promise.all([log.ended, node.server.stop()]);
    assert.deepEqual([code, how], [status.UNAVAILABLE, "exit code 0"]);
    await node.server.restart();
    using again = await EventLog.open(node.cri);
    await node.cri.call("StopContainer", { containerId, timeout: 10 });
    await again.until(containerId, "STOPPED");
    await removeSandbox(podSandboxId);
    await again.until(podSandboxId, "DELETED");
    assert.deepEqual(again.typesOf(containerId), ["STOPPED", "DELETED"]);
    assert.deepEqual(again.typesOf(podSandboxId), ["STOPPED", "DELETED"]);
    await node.assertCleanEnd();
  });
});

import assert from "node:assert/strict";
import test, { after, before, describe } from "node:test";
import { status } from "@grpc/grpc-js";
import type { Message } from "../harness/cri-answers.ts";
import { hasStatus } from "../harness/cri-client.ts";
import { type ContainerOptions, containerConfig, env, sandboxConfig } from "../harness/cri-configs.ts";
import { Gated } from "../harness/gated.ts";
import { TestNode } from "../harness/test-node.ts";

describe("a request that is repeated", () => {
  const owned = new AsyncDisposableStack();
  let node: TestNode;
  let runtime: Gated;
  let plugin: Gated;

  before(async () => {
    runtime = owned.use(await Gated.runtime("/usr/sbin/runc"));
    plugin = owned.use(await Gated.plugin("bridge"));
    const settings = {
      "cni.binDirs": `[${plugin.binDir}, /usr/lib/cni]`,
      "runtimes.slow.path": runtime.path,
    };
    node = owned.use(await TestNode.start({ settings }));
  });
  after(() => owned.disposeAsync());

  const runSandbox = async (name: string) => {
    const config = sandboxConfig(name);
    const { podSandboxId } = await node.cri.call("RunPodSandbox", { config, runtimeHandler: "slow" });
    return { podSandboxId, sandboxConfig: config };
  };
  const create = (sandbox: Message, options: ContainerOptions, giveUp?: AbortSignal) =>
    node.cri.call(
      "CreateContainer",
      { ...sandbox, config: containerConfig("c", options) },
      giveUp === undefined ? {} : { signal: giveUp },
    );
  const listed = async () => (await node.cri.call("ListContainers", {})).containers.map(({ id }) => id);
  const removeSandbox = async (podSandboxId: string) => {
    await node.cri.call("StopPodSandbox", { podSandboxId });
    await node.cri.call("RemovePodSandbox", { podSandboxId });
    await node.assertClean();
  };
  /** Calls of one connection are begun in order: when this is answered, those before it have been received. */
  const received = () => node.cri.call("Version", {});

  test("after one second, with another termination log, gets the first container", async () => {
    const sandbox = await runSandbox("gives-up");
    await runtime.set("create", "hold");
    const before = (await runtime.calls("create")).length;
    const first = { terminationPath: "/etc/hostname", envs: [env("KUBERNETES_SERVICE_HOST", "10.96.0.1")] };
    const again = { terminationPath: "/etc/os-release", envs: [env("WEB_SERVICE_HOST", "10.96.0.9")] };
    const request = { ...sandbox, config: containerConfig("c", first) };
    await assert.rejects(node.cri.call("CreateContainer", request, { deadlineMs: 1_000 }), (error) =>
      hasStatus(error, status.DEADLINE_EXCEEDED),
    );
    await runtime.held();
    const retry = create(sandbox, again);
    await received();
    assert.deepEqual(await listed(), []);
    await runtime.set("create", "pass");
    await runtime.release();
    const { containerId } = await retry;
    assert.deepEqual(await listed(), [containerId]);
    assert.deepEqual(await create(sandbox, again), { containerId });
    const made = (await node.cri.call("ContainerStatus", { containerId })).status;
    assert.deepEqual([made.state, made.metadata.attempt], ["CONTAINER_CREATED", 0]);
    assert.deepEqual(
      made.mounts.map(({ hostPath }) => hostPath),
      ["/etc/hostname"],
    );
    assert.equal((await runtime.calls("create")).length, before + 1);
    await node.cri.call("StartContainer", { containerId });
    await node.cri.call("StartContainer", { containerId });
    await removeSandbox(sandbox.podSandboxId);
  });

  test("finds a container that was finished when nobody waited, which is listed only then", async () => {
    const sandbox = await runSandbox("uncollected");
    await runtime.set("create", "hold");
    const giveUp = new AbortController();
    const first = create(sandbox, { terminationPath: "/etc/os-release" }, giveUp.signal);
    const [held] = await runtime.held();
    giveUp.abort();
    await assert.rejects(first, (error) => hasStatus(error, status.CANCELLED));
    await received();
    await runtime.set("create", "pass");
    await runtime.release();
    const containerId = held?.subject ?? "";
    await untilFound(node, containerId);
    assert.deepEqual(await listed(), []);
    assert.deepEqual(await create(sandbox, { terminationPath: "/etc/hostname" }), { containerId });
    assert.deepEqual(await listed(), [containerId]);
    await removeSandbox(sandbox.podSandboxId);
  });

  test("with another configuration is refused while the first is waited for, and told what that is at", async () => {
    const sandbox = await runSandbox("differs");
    await runtime.set("create", "hold");
    const giveUp = new AbortController();
    const first = create(sandbox, {}, giveUp.signal);
    const [held] = await runtime.held();
    await assert.rejects(create(sandbox, { args: ["another"] }), (error) => {
      assert.ok(hasStatus(error, status.ALREADY_EXISTS));
      assert.match(error.details, /container .*\/c.* different configuration.* waiting for slow create/);
      return true;
    });
    giveUp.abort();
    await assert.rejects(first);
    await received();
    const second = create(sandbox, { args: ["another"] });
    await received();
    await runtime.set("create", "pass");
    await runtime.release();
    const { containerId } = await second;
    assert.notEqual(containerId, held?.subject);
    assert.deepEqual(await listed(), [containerId]);
    await removeSandbox(sandbox.podSandboxId);
  });

  test("for a sandbox, fifty times at once, makes one", async () => {
    const config = sandboxConfig("fifty");
    const before = (await plugin.calls("ADD")).length;
    await plugin.set("ADD", "hold");
    const calls = Array.from({ length: 50 }, () => node.cri.call("RunPodSandbox", { config, runtimeHandler: "slow" }));
    await plugin.held();
    await received();
    assert.deepEqual((await node.cri.call("ListPodSandbox", {})).items, []);
    await plugin.set("ADD", "pass");
    await plugin.release();
    const ids = new Set((await Promise.all(calls)).map(({ podSandboxId }) => podSandboxId));
    assert.equal(ids.size, 1);
    assert.equal((await plugin.calls("ADD")).length, before + 1);
    const [podSandboxId = ""] = ids;
    assert.deepEqual(await node.cri.call("RunPodSandbox", { config, runtimeHandler: "slow" }), { podSandboxId });
    assert.equal((await node.cri.call("ListPodSandbox", {})).items.length, 1);
    await removeSandbox(podSandboxId);
  });

  test("for a sandbox that differs is refused while the first is waited for; after that the first is undone", async () => {
    const config = sandboxConfig("sandbox-differs");
    const other = { ...config, hostname: "other" };
    await plugin.set("ADD", "hold");
    const giveUp = new AbortController();
    const first = node.cri.call("RunPodSandbox", { config }, { signal: giveUp.signal });
    await plugin.held();
    await assert.rejects(node.cri.call("RunPodSandbox", { config: other }), (error) => {
      assert.ok(hasStatus(error, status.ALREADY_EXISTS));
      assert.match(error.details, /sandbox .*sandbox-differs.* different configuration.*CNI plugin.*ADD/);
      return true;
    });
    giveUp.abort();
    await assert.rejects(first);
    await received();
    await plugin.set("ADD", "pass"); // and the one that holds is killed, not released
    const { podSandboxId } = await node.cri.call("RunPodSandbox", { config: other });
    assert.equal((await node.cri.call("ListPodSandbox", {})).items.length, 1);
    await removeSandbox(podSandboxId);
  });

  test("as a storm of starts, stops and removals leaves nothing and fails only for what is gone or ended", async () => {
    const sandbox = await runSandbox("storm");
    const { containerId } = await create(sandbox, {});
    const calls = ["StartContainer", "StopContainer", "RemoveContainer", "StopPodSandbox", "RemovePodSandbox"];
    const request = { containerId, podSandboxId: sandbox.podSandboxId, timeout: "0" };
    const storm = Array.from({ length: 50 }, (_, index) => node.cri.call(calls[index % calls.length] ?? "", request));
    const expected = new Set<number>([status.NOT_FOUND, status.FAILED_PRECONDITION]);
    for (const result of await Promise.allSettled(storm)) {
      if (result.status === "fulfilled") continue;
      assert.ok(expected.has(result.reason.code), String(result.reason));
    }
    await removeSandbox(sandbox.podSandboxId);
  });

  test("may have a sandbox stopped under it: the creation is ended, not waited for", async () => {
    const sandbox = await runSandbox("stopped");
    await runtime.set("create", "hold");
    const creation = create(sandbox, {});
    await runtime.held();
    const stop = node.cri.call("StopPodSandbox", { podSandboxId: sandbox.podSandboxId }, { deadlineMs: 20_000 });
    await assert.rejects(creation, (error) => hasStatus(error, status.FAILED_PRECONDITION));
    await stop;
    await runtime.set("create", "pass");
    await removeSandbox(sandbox.podSandboxId);
  });

  test("may have a sandbox stopped under it while its runtime hangs in start", async () => {
    const sandbox = await runSandbox("hangs-in-start");
    const { containerId } = await create(sandbox, {});
    await runtime.set("start", "hold");
    const start = assert.rejects(node.cri.call("StartContainer", { containerId }));
    await runtime.held();
    await node.cri.call("StopPodSandbox", { podSandboxId: sandbox.podSandboxId }, { deadlineMs: 20_000 });
    await node.cri.call("RemovePodSandbox", { podSandboxId: sandbox.podSandboxId }, { deadlineMs: 20_000 });
    await start;
    await runtime.set("start", "pass");
    await node.assertClean();
  });

  test("for a sandbox that differs ends the first even while its runtime hangs in the pause container", async () => {
    const config = sandboxConfig("hangs-in-pause", { pid: "POD" });
    await runtime.set("create", "hold");
    const giveUp = new AbortController();
    const first = node.cri.call("RunPodSandbox", { config, runtimeHandler: "slow" }, { signal: giveUp.signal });
    await runtime.held();
    giveUp.abort();
    await assert.rejects(first);
    await received();
    await runtime.set("create", "pass");
    const request = { config: { ...config, hostname: "other" }, runtimeHandler: "slow" };
    const { podSandboxId } = await node.cri.call("RunPodSandbox", request, { deadlineMs: 20_000 });
    await removeSandbox(podSandboxId);
  });

  test("left no row of any pod", () => node.assertCleanEnd());
});

/** It is found by its id once it is made; there is no event for that. */
async function untilFound(node: TestNode, containerId: string): Promise<void> {
  const deadline = AbortSignal.timeout(30_000);
  for (;;) {
    try {
      await node.cri.call("ContainerStatus", { containerId });
      return;
    } catch (error) {
      if (!hasStatus(error, status.NOT_FOUND) || deadline.aborted) throw error;
    }
  }
}

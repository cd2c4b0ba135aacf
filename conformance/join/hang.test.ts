import assert from "node:assert/strict";
import { join } from "node:path";
import test, { after, before, describe } from "node:test";
import { status } from "@grpc/grpc-js";
import { hasStatus } from "../harness/cri-client.ts";
import { containerConfig, sandboxConfig } from "../harness/cri-configs.ts";
import { Gated } from "../harness/gated.ts";
import { HungVolume } from "../harness/hung-volume.ts";
import { TestNode } from "../harness/test-node.ts";

const rounds = 100;
const slowestMs = 100;

describe("while a plugin and a volume hang", () => {
  const owned = new AsyncDisposableStack();
  let node: TestNode;
  let plugin: Gated;

  before(async () => {
    plugin = owned.use(await Gated.plugin("bridge"));
    node = owned.use(await TestNode.start({ settings: { "cni.binDirs": `[${plugin.binDir}, /usr/lib/cni]` } }));
  });
  after(() => owned.disposeAsync());

  test("lists, statuses and another pod's whole life go on, and the pods that hang can be removed", async () => {
    const { cri } = node;
    await using undo = new AsyncDisposableStack();
    const volume = undo.use(await HungVolume.mount(join(node.server.paths.folder, "hung")));
    const config = sandboxConfig("healthy");
    const { podSandboxId } = await cri.call("RunPodSandbox", { config });
    const create = (name: string, hostPath?: string) => {
      const mounts = hostPath === undefined ? [] : [{ containerPath: "/data", hostPath }];
      return cri.call("CreateContainer", {
        ...{ podSandboxId, sandboxConfig: config },
        config: containerConfig(name, { mounts }),
      });
    };
    const { containerId } = await create("healthy");
    await cri.call("StartContainer", { containerId });

    await plugin.set("ADD", "hold");
    const giveUp = new AbortController();
    const hung = cri.call("RunPodSandbox", { config: sandboxConfig("hung") }, { signal: giveUp.signal });
    await plugin.held();
    await plugin.set("ADD", "pass");
    const stuck = create("stuck", join(volume.path, "data"));
    const stuckEnds = assert.rejects(stuck, (error) => hasStatus(error, status.FAILED_PRECONDITION));

    const times: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      for (const method of ["Status", "ListPodSandbox", "ListContainers", "PodSandboxStatus", "ContainerStatus"]) {
        const began = performance.now();
        await cri.call(method, { podSandboxId, containerId });
        times.push(performance.now() - began);
      }
    }
    const p99 = times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? Number.POSITIVE_INFINITY;
    assert.ok(p99 < slowestMs, `the slowest hundredth took ${p99} ms and more`);
    assert.deepEqual(
      (await cri.call("ListContainers", {})).containers.map(({ id }) => id),
      [containerId],
    );

    const other = await cri.call("RunPodSandbox", { config: sandboxConfig("other") });
    await cri.call("ExecSync", { containerId, cmd: ["true"], timeout: "10" });
    await cri.call("RemovePodSandbox", other);
    await cri.call("StopPodSandbox", { podSandboxId }, { deadlineMs: 15_000 });
    await stuckEnds;
    await cri.call("RemovePodSandbox", { podSandboxId });
    giveUp.abort();
    await assert.rejects(hung);
    await plugin.release();
    const { podSandboxId: made } = await cri.call("RunPodSandbox", { config: sandboxConfig("hung") });
    await cri.call("RemovePodSandbox", { podSandboxId: made });
    await undo.disposeAsync();
    await node.assertCleanEnd();
  });
});

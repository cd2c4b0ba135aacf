import assert from "node:assert/strict";
import { join } from "node:path";
import test, { after, before, describe } from "node:test";
import { status } from "@grpc/grpc-js";
import { nacelle } from "../cli/nacelle.ts";
import { hasStatus } from "../harness/cri-client.ts";
import { containerConfig, sandboxConfig } from "../harness/cri-configs.ts";
import { StallingVolume } from "../harness/stalling-volume.ts";
import { removePod, runPod } from "../harness/streams.ts";
import { TestNode } from "../harness/test-node.ts";
import { endOf } from "../harness/until.ts";

describe("a container that SIGKILL does not end", () => {
  const owned = new AsyncDisposableStack();
  let node: TestNode;

  before(async () => {
    node = owned.use(await TestNode.start());
  });
  after(() => owned.disposeAsync());

  test("is told of wherever somebody waits for it, holds nobody else up, and goes when it can", {
    timeout: 180_000,
  }, async () => {
    const { cri } = node;
    await using owns = new AsyncDisposableStack();
    const volume = owns.use(await StallingVolume.mount(join(node.server.paths.folder, "stalling")));
    const config = sandboxConfig("unkillable");
    const { podSandboxId } = await cri.call("RunPodSandbox", { config });
    const mounts = [{ containerPath: "/stalling", hostPath: volume.path }];
    const inside = containerConfig("c", { command: ["cat", "/stalling/file"], mounts });
    const { containerId } = await cri.call("CreateContainer", { podSandboxId, sandboxConfig: config, config: inside });
    await cri.call("StartContainer", { containerId });
    await volume.stalled;

    const cannotEnd = (error: unknown) =>
      hasStatus(error, status.UNAVAILABLE) && /was killed \d+ s ago and cannot end: .*state D/.test(String(error));
    await assert.rejects(cri.call("StopContainer", { containerId, timeout: "0" }), cannotEnd);
    await assert.rejects(cri.call("StopContainer", { containerId, timeout: "600" }), cannotEnd);
    await assert.rejects(cri.call("StopPodSandbox", { podSandboxId }), cannotEnd);
    await node.server.kill();
    await node.server.restart();
    await assert.rejects(cri.call("StopContainer", { containerId, timeout: "0" }), cannotEnd);
    const { out } = await nacelle(node.server.paths, "status");
    assert.match(
      out,
      new RegExp(`containers in trouble:\n  ${containerId.slice(0, 13)}: was killed .* and cannot end`),
    );
    const other = await runPod(cri, "other");
    await removePod(cri, other.podSandboxId);

    await volume[Symbol.asyncDispose]();
    const { exitCode, reason } = await endOf(cri, containerId);
    assert.deepEqual([exitCode, reason], [137, "Error"]);
    await cri.call("StopContainer", { containerId, timeout: "0" });
    assert.doesNotMatch((await nacelle(node.server.paths, "status")).out, /in trouble/);
    await removePod(cri, podSandboxId);
    await node.assertCleanEnd();
  });
});

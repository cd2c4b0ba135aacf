import assert from "node:assert/strict";
import test, { after, before, describe } from "node:test";
import { ClusterNode } from "./cluster-node.ts";
import { skipWithoutKubelet } from "./kubelet.ts";
import { podManifest, shell, waits } from "./pod.ts";

describe("a kubelet without a control plane", { skip: skipWithoutKubelet }, () => {
  const owned = new AsyncDisposableStack();
  let node: ClusterNode;

  before(async () => {
    node = owned.use(await ClusterNode.start());
  });
  after(() => owned.disposeAsync());

  test("a pod runs, and is gone with all that it held when its manifest is", async () => {
    await node.apply(podManifest("one", { containers: [shell("main", waits)] }));
    const { status } = await node.untilReady("one");
    assert.equal(status.phase, "Running");
    assert.match(status.podIP ?? "", /^10\.88\./);
    await node.delete("one");
    await node.untilGone("one");
    await node.assertCleanEnd();
  });
});

import test, { after, before, describe } from "node:test";
import { ClusterNode } from "./cluster-node.ts";
import { skipWithoutKubelet } from "./kubelet.ts";
import { testLife } from "./life.ts";
import { testLogs } from "./logs.ts";
import { testStatistics } from "./statistics.ts";
import { testStreaming } from "./streaming.ts";
import { testSurroundings } from "./surroundings.ts";
import { variants } from "./variants.ts";

for (const { name, runtime, featureGates } of variants) {
  describe(`a kubelet ${name} over ${runtime}`, { skip: skipWithoutKubelet }, () => {
    const owned = new AsyncDisposableStack();
    let started: ClusterNode;
    const node = () => started;

    before(async () => {
      started = owned.use(await ClusterNode.start({ server: { defaultRuntime: runtime }, kubelet: { featureGates } }));
    });
    after(() => owned.disposeAsync());

    // Mostly they wait, each with a pod of its own.
    describe("its pods", { concurrency: true, timeout: 300_000 }, () => {
      testLife(node);
      testSurroundings(node);
      testLogs(node);
      testStreaming(node);
      testStatistics(node, "PodAndContainerStatsFromCRI" in featureGates);
    });

    test("nothing is left of them", async () => await node().assertCleanEnd());
  });
}

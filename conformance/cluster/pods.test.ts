import assert from "node:assert/strict";
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

    if ("EventedPLEG" in featureGates) {
      test("the kubelet was told of changes by events, over one connection without an error", async () => {
        const metrics = await node().kubelet.api.get("/metrics");
        assert.match(metrics, /^kubelet_evented_pleg_connection_success_count 1$/m);
        assert.match(metrics, /^kubelet_evented_pleg_connection_error_count 0$/m);
      });
    }

    test("nothing is left of them", async () => await node().assertCleanEnd());
  });
}

import assert from "node:assert/strict";
import test, { after, before, describe } from "node:test";
import { census } from "./census.ts";
import { ClusterNode } from "./cluster-node.ts";
import { skipWithoutKubelet } from "./kubelet.ts";
import { lookUntil } from "./look.ts";
import { containerOf, fullName, podManifest, shell, waits } from "./pod.ts";
import { untilNoProcess } from "./processes.ts";
import { variants } from "./variants.ts";

const settled = ["plain", "shared", "port", "finished"];

for (const { name, runtime, featureGates } of variants) {
  describe(`kills under a kubelet ${name} over ${runtime}`, { skip: skipWithoutKubelet }, () => {
    const owned = new AsyncDisposableStack();
    let node: ClusterNode;

    before(async () => {
      node = owned.use(await ClusterNode.start({ server: { defaultRuntime: runtime }, kubelet: { featureGates } }));
      await startSettled(node);
    });
    after(() => owned.disposeAsync());

    const killNacelle = async () => {
      await node.server.kill();
      await node.server.restart();
    };
    const killKubelet = async () => {
      await node.kubelet.kill();
      await node.kubelet.restart({ featureGates });
    };
    const killBoth = async () => {
      await node.kubelet.kill();
      await killNacelle();
      await node.kubelet.restart({ featureGates });
    };

    for (const [who, kill] of Object.entries({ nacelle: killNacelle, "the kubelet": killKubelet, both: killBoth })) {
      const own = `after-${who.split(" ").at(-1)}`;
      const begun = [0, 1, 2, 3].map((number) => `made-${number}-${own}`);
      test(`pods that run go on as they are when ${who} died: nothing is made anew, nothing is counted`, async () => {
        const earlier = await census(node, settled);
        await kill();
        // A pod that is made after it shows that both work together again.
        await node.apply(podManifest(own, { containers: [shell("main", waits)] }));
        await node.untilReady(own);
        for (const pod of settled.filter((each) => each !== "finished")) await node.untilReady(pod);
        assert.deepEqual(await census(node, settled), earlier);
        assert.match(await node.run("plain", "main", "echo alive"), /alive/);
      });

      test(`a pod that began before ${who} died ends well`, async () => {
        await node.delete(own);
        await node.untilStopped(own);
      });

      test(`pods that were being made when ${who} died run in the end, each container once`, async () => {
        const folder = await node.sharedFolder(`runs-${own}`);
        const volumes = [{ name: "runs", hostPath: { path: folder.path } }];
        const counted = (pod: string, container: string) =>
          shell(container, `echo ran >> /runs/${pod}-${container}; ${waits}`, {
            volumeMounts: [{ name: "runs", mountPath: "/runs" }],
          });
        for (const pod of begun) {
          await node.apply(podManifest(pod, { containers: [counted(pod, "main"), counted(pod, "second")], volumes }));
        }
        await untilSandboxOf(node, begun[0] ?? "");
        await kill();
        for (const pod of begun) await node.untilReady(pod);
        // Not the attempts: a kubelet raises one for a container that it was told of and never started.
        for (const pod of begun) {
          assert.equal(await folder.read(`${pod}-main`), "ran\n");
          assert.equal(await folder.read(`${pod}-second`), "ran\n");
        }
        const lines = await census(node, begun);
        assert.equal(lines.filter((line) => line.includes("SANDBOX_READY")).length, 4, lines.join("\n"));
        assert.equal(lines.filter((line) => line.includes("CONTAINER_RUNNING")).length, 8, lines.join("\n"));
      });

      test(`pods that were ending when ${who} died end`, async () => {
        for (const pod of begun) await node.delete(pod);
        await untilNotReady(node, begun);
        await kill();
        for (const pod of begun) await node.untilStopped(pod);
      });
    }

    for (const [who, victim] of [
      ["nacelle", { kill: () => node.server.kill(), restart: () => node.server.restart() }],
      ["the kubelet", { kill: () => node.kubelet.kill(), restart: () => node.kubelet.restart({ featureGates }) }],
    ] as const) {
      test(`what a container ends with while ${who} is dead is told, and a restart counted once`, async () => {
        const folder = await node.sharedFolder(`ends-${who}`);
        const pod = `ends-${who.split(" ").at(-1)}`;
        const marker = `/notes/go-${pod}`;
        const until = `test -e /notes/again && { ${waits}; }; while ! test -e ${marker}; do sleep 0.1; done; touch /notes/again; exit 7`;
        const mounted = { volumeMounts: [{ name: "notes", mountPath: "/notes" }] };
        const volumes = [{ name: "notes", hostPath: { path: folder.path } }];
        await node.apply(podManifest(pod, { containers: [shell("main", until, mounted)], volumes }));
        const earlier = containerOf(await node.untilReady(pod));
        await victim.kill();
        await folder.write(`go-${pod}`, "");
        await untilNoProcess(`while ! test -e ${marker}`);
        await victim.restart();
        const later = containerOf(
          await node.until(pod, "runs again", (seen) => {
            return containerOf(seen).ready && containerOf(seen).containerID !== earlier.containerID;
          }),
        );
        assert.equal(later.restartCount, 1);
        assert.equal(later.lastState.terminated?.exitCode, 7);
        assert.equal(later.lastState.terminated?.containerID, earlier.containerID);
      });
    }

    test("a pod whose manifest went while the kubelet was dead ends", async () => {
      await node.apply(podManifest("orphan", { containers: [shell("main", waits)] }));
      await node.untilReady("orphan");
      await node.kubelet.kill();
      await node.delete("orphan");
      await node.kubelet.restart({ featureGates });
      await node.untilStopped("orphan");
    });

    test("nothing is left", async () => await node.assertCleanEnd());
  });
}

/** Pods that nothing shall touch: one that is plain, one with a pause process, one with a port of the host, one that has ended. */
async function startSettled(node: ClusterNode): Promise<void> {
  const port = { ports: [{ containerPort: 8080, hostPort: 18_081 }] };
  await node.apply(podManifest("plain", { containers: [shell("main", waits), shell("second", waits)] }));
  await node.apply(podManifest("shared", { shareProcessNamespace: true, containers: [shell("main", waits)] }));
  await node.apply(podManifest("port", { containers: [shell("main", waits, port)] }));
  await node.apply(podManifest("finished", { restartPolicy: "Never", containers: [shell("main", "exit 0")] }));
  for (const pod of ["plain", "shared", "port"]) await node.untilReady(pod);
  await node.untilStopped("finished");
}

async function untilSandboxOf(node: ClusterNode, pod: string): Promise<void> {
  const filter = { labelSelector: { "io.kubernetes.pod.name": fullName(pod) } };
  await lookUntil(`a sandbox of ${pod}`, async () => {
    return (await node.cri.call("ListPodSandbox", { filter })).items.length > 0 ? true : undefined;
  });
}

async function untilNotReady(node: ClusterNode, pods: readonly string[]): Promise<void> {
  await lookUntil("one of the pods ends", async () => {
    const lines = await census(node, pods);
    return lines.some((line) => line.includes("CONTAINER_EXITED")) ? true : undefined;
  });
}

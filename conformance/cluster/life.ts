import assert from "node:assert/strict";
import test from "node:test";
import type { ClusterNode } from "./cluster-node.ts";
import { containerOf, type Pod, podManifest, shell, waits } from "./pod.ts";

/** Probes that look each second; a loaded machine may take its time to answer. */
const eager = { periodSeconds: 1, timeoutSeconds: 30 };

/** Tests of how containers begin, restart and end. */
export function testLife(node: () => ClusterNode): void {
  test("init containers run one after the other, before the others", async () => {
    const noted = { volumeMounts: [{ name: "notes", mountPath: "/notes" }] };
    const note = (name: string) => shell(name, `echo ${name} >> /notes/order`, noted);
    const spec = {
      initContainers: [note("first"), note("second"), note("third")],
      containers: [shell("main", `cat /notes/order; ${waits}`, noted)],
      volumes: [{ name: "notes", emptyDir: {} }],
    };
    await node().apply(podManifest("init", spec));
    const { status } = await node().untilReady("init");
    await node().untilLogged("init", "main", "first\nsecond\nthird\n");
    const ends = (status.initContainerStatuses ?? []).map(({ state, restartCount }) => [
      state.terminated?.exitCode,
      restartCount,
    ]);
    assert.deepEqual(ends, Array(3).fill([0, 0]));
  });

  test("a sidecar runs beside the others and ends after them", async () => {
    const noted = { volumeMounts: [{ name: "notes", mountPath: "/notes" }] };
    const spec = {
      restartPolicy: "Never",
      terminationGracePeriodSeconds: 30,
      initContainers: [
        shell(
          "sidecar",
          `trap 'echo sidecar >> /notes/order; cat /notes/order; exit 0' TERM; touch /notes/up; ${forEver}`,
          {
            restartPolicy: "Always",
            startupProbe: { exec: { command: ["test", "-e", "/notes/up"] }, periodSeconds: 1, failureThreshold: 60 },
            ...noted,
          },
        ),
      ],
      containers: [shell("main", "test -e /notes/up && echo main > /notes/order", noted)],
      volumes: [{ name: "notes", emptyDir: {} }],
    };
    await node().apply(podManifest("sidecar", spec));
    await node().until("sidecar", "has ended well", ({ status }) => status.phase === "Succeeded");
    assert.equal(await node().logs("sidecar", "sidecar"), "main\nsidecar\n");
  });

  test("a readiness probe by exec decides whether a container is ready, and restarts nothing", async () => {
    const readinessProbe = { exec: { command: ["test", "-e", "/tmp/ready"] }, ...eager };
    await node().apply(podManifest("readiness", { containers: [shell("main", waits, { readinessProbe })] }));
    await node().until("readiness", "runs", (pod) => containerOf(pod).started === true);
    await node().run("readiness", "main", "touch /tmp/ready");
    await node().untilReady("readiness");
    await node().run("readiness", "main", "rm /tmp/ready");
    const pod = await node().until("readiness", "is not ready any more", (seen) => !containerOf(seen).ready);
    assert.equal(containerOf(pod).restartCount, 0);
  });

  test("a failing liveness probe by exec restarts the container, once", async () => {
    const livenessProbe = { exec: { command: ["test", "-e", "/tmp/alive"] }, initialDelaySeconds: 2, ...eager };
    await node().apply(
      podManifest("liveness", { containers: [shell("main", `touch /tmp/alive; ${waits}`, { livenessProbe })] }),
    );
    const before = containerOf(await node().untilReady("liveness"));
    await node().run("liveness", "main", "rm /tmp/alive");
    const again = (pod: Pod) => containerOf(pod).ready && containerOf(pod).containerID !== before.containerID;
    const after = containerOf(await node().until("liveness", "runs again", again));
    assert.equal(after.restartCount, 1);
    assert.equal(after.lastState.terminated?.containerID, before.containerID);
    assert.equal(after.lastState.terminated?.exitCode, 0);
  });

  test("a failing liveness probe by HTTP restarts the container, once", async () => {
    const livenessProbe = { httpGet: { path: "/alive", port: 8080 }, initialDelaySeconds: 2, ...eager };
    const script = "mkdir /tmp/www; echo yes > /tmp/www/alive; exec httpd -f -p 8080 -h /tmp/www";
    const spec = { containers: [shell("main", script, { livenessProbe, readinessProbe: livenessProbe })] };
    await node().apply(podManifest("liveness-http", spec));
    const before = containerOf(await node().untilReady("liveness-http"));
    assert.equal(before.restartCount, 0);
    await node().run("liveness-http", "main", "rm /tmp/www/alive");
    const pod = await node().until("liveness-http", "runs again", (seen) => {
      return containerOf(seen).ready && containerOf(seen).containerID !== before.containerID;
    });
    assert.equal(containerOf(pod).restartCount, 1);
  });

  test("a container that crashes is started again, later each time, and its restarts are counted truly", async () => {
    await node().apply(podManifest("crash", { containers: [shell("main", "echo crashed; exit 3")] }));
    const pod = await node().until("crash", "has crashed three times and waits", (seen) => {
      const { restartCount, state } = containerOf(seen);
      return restartCount === 2 && state.waiting?.reason === "CrashLoopBackOff";
    });
    const { lastState, containerID } = containerOf(pod);
    assert.equal(lastState.terminated?.exitCode, 3);
    assert.equal(lastState.terminated?.reason, "Error");
    assert.equal(lastState.terminated?.containerID, containerID);
    const attempts = (await node().containersOf(pod)).map(({ metadata }) => metadata.attempt);
    assert.equal(Math.max(...attempts), 2);
    assert.equal(await node().logs("crash", "main"), "crashed\n");
  });

  test("a container that could not be made is tried again, and that counts as no restart", async () => {
    const folder = await node().sharedFolder("program");
    const mounted = { volumeMounts: [{ name: "late", mountPath: "/late" }], command: ["/late/program"] };
    const spec = {
      containers: [shell("main", "", mounted)],
      volumes: [{ name: "late", hostPath: { path: folder.path } }],
    };
    await node().apply(podManifest("late", spec));
    await node().until(
      "late",
      "was tried",
      (seen) => containerOf(seen).state.waiting?.reason === "CreateContainerError",
    );
    await folder.write("program", `#!/bin/sh\n${waits}\n`, 0o755);
    const pod = await node().untilReady("late");
    assert.equal(containerOf(pod).restartCount, 0);
    assert.deepEqual(
      (await node().containersOf(pod)).map(({ metadata }) => metadata.attempt),
      [0],
    );
  });

  test("a container that fails is started again until it succeeds", async () => {
    const noted = { volumeMounts: [{ name: "notes", mountPath: "/notes" }] };
    const spec = {
      restartPolicy: "OnFailure",
      containers: [shell("main", "test -e /notes/tried && exit 0; touch /notes/tried; exit 9", noted)],
      volumes: [{ name: "notes", emptyDir: {} }],
    };
    await node().apply(podManifest("second-try", spec));
    const pod = await node().until("second-try", "has succeeded", ({ status }) => status.phase === "Succeeded");
    assert.equal(containerOf(pod).restartCount, 1);
    assert.equal(containerOf(pod).state.terminated?.reason, "Completed");
    assert.equal(containerOf(pod).lastState.terminated?.exitCode, 9);
  });

  test("a container that takes more memory than it may is shown as killed for that", async () => {
    const hungry = shell("main", "exec dd if=/dev/zero of=/dev/null bs=256M", {
      resources: { limits: { memory: "24Mi" } },
    });
    await node().apply(podManifest("hungry", { restartPolicy: "Never", containers: [hungry] }));
    const pod = await node().until("hungry", "has failed", ({ status }) => status.phase === "Failed");
    const { reason, exitCode } = containerOf(pod).state.terminated ?? {};
    assert.deepEqual({ reason, exitCode }, { reason: "OOMKilled", exitCode: 137 });
  });

  test("a container's last words are shown, from its termination log or from its output", async () => {
    const fallback = { terminationMessagePolicy: "FallbackToLogsOnError" };
    const spec = {
      restartPolicy: "Never",
      containers: [
        shell("file", "printf 'from the file' > /dev/termination-log; exit 4"),
        shell("output", "echo from the output; exit 5", fallback),
      ],
    };
    await node().apply(podManifest("words", spec));
    const pod = await node().until("words", "has failed", ({ status }) => status.phase === "Failed");
    const words = ["file", "output"].map((name) => {
      const { exitCode, message } = containerOf(pod, name).state.terminated ?? {};
      return { exitCode, message };
    });
    assert.deepEqual(words, [
      { exitCode: 4, message: "from the file" },
      { exitCode: 5, message: "from the output\n" },
    ]);
  });

  test("hooks run after a container's start and before its end, which waits for them", async () => {
    const folder = await node().sharedFolder("hooks");
    const lifecycle = {
      postStart: { exec: { command: ["sh", "-c", "echo started >> /notes/hooks"] } },
      preStop: { exec: { command: ["sh", "-c", "sleep 0.5; echo stopping >> /notes/hooks"] } },
    };
    const spec = {
      terminationGracePeriodSeconds: 60,
      containers: [
        shell("main", `trap 'echo stopped >> /notes/hooks; exit 0' TERM; ${forEver}`, {
          lifecycle,
          volumeMounts: [{ name: "notes", mountPath: "/notes" }],
        }),
      ],
      volumes: [{ name: "notes", hostPath: { path: folder.path } }],
    };
    await node().apply(podManifest("hooks", spec));
    await node().untilReady("hooks");
    await node().delete("hooks");
    await node().untilStopped("hooks");
    assert.equal(await folder.read("hooks"), "started\nstopping\nstopped\n");
  });

  test("a pod that is deleted and made again at once is a new one", async () => {
    const manifest = podManifest("again", { containers: [shell("main", `echo begun; ${waits}`)] });
    await node().apply(manifest);
    const before = containerOf(await node().untilReady("again"));
    await node().delete("again");
    await node().apply(manifest);
    const pod = await node().until("again", "is ready once more", (seen) => {
      return containerOf(seen).ready && containerOf(seen).containerID !== before.containerID;
    });
    await node().untilLogged("again", "main", "begun");
    const running = (await node().containersOf(pod)).filter(({ state }) => state === "CONTAINER_RUNNING");
    assert.equal(running.length, 1);
  });

  test("a manifest that changes replaces the pod", async () => {
    const saying = (words: string) =>
      podManifest("changed", { containers: [shell("main", `echo ${words}; ${waits}`)] });
    await node().apply(saying("one"));
    const before = await node().untilReady("changed");
    await node().apply(saying("two"));
    const after = await node().until("changed", "is another pod, and ready", (seen) => {
      return seen.metadata.uid !== before.metadata.uid && containerOf(seen).ready;
    });
    assert.equal(containerOf(after).restartCount, 0);
    await node().untilLogged("changed", "main", "two");
  });
}

const forEver = "while :; do sleep 1000 & wait; done";

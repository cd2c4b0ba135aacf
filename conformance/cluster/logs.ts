import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import test from "node:test";
import type { ClusterNode } from "./cluster-node.ts";
import { lookUntil } from "./look.ts";
import { logPath, podManifest, podNamespace, shell, waits } from "./pod.ts";

/** Tests of what the kubelet's API shows of containers' output. */
export function testLogs(node: () => ClusterNode): void {
  test("output is shown whole, in part, with times, and after the container has ended", async () => {
    const spec = { restartPolicy: "Never", containers: [shell("main", "echo one; echo two >&2; printf three")] };
    await node().apply(podManifest("said", spec));
    await node().until("said", "has ended", ({ status }) => status.phase === "Succeeded");
    assert.equal(await node().logs("said", "main"), "one\ntwo\nthree");
    assert.equal(await node().logs("said", "main", "tailLines=1"), "three");
    assert.match(await node().logs("said", "main", "timestamps=true&limitBytes=1000"), /^\d{4}-\d\d-\d\dT\S+ one\n/);
  });

  test("output is followed while it is written, until the container ends", async () => {
    const script = "echo first; while ! test -e /tmp/go; do sleep 0.1; done; echo second";
    await node().apply(podManifest("followed", { restartPolicy: "Never", containers: [shell("main", script)] }));
    await node().untilReady("followed");
    const path = logPath("followed", "main", "follow=true");
    const lines = createInterface(await node().kubelet.api.open("GET", path))[Symbol.asyncIterator]();
    assert.equal((await lines.next()).value, "first");
    await node().run("followed", "main", "touch /tmp/go");
    assert.equal((await lines.next()).value, "second");
    assert.equal((await lines.next()).done, true);
  });

  test("what a container said before it was restarted is shown on request", async () => {
    const script = `test -e /notes/ran || { touch /notes/ran; echo the first; exit 1; }; echo the second; ${waits}`;
    const spec = {
      containers: [shell("main", script, { volumeMounts: [{ name: "notes", mountPath: "/notes" }] })],
      volumes: [{ name: "notes", emptyDir: {} }],
    };
    await node().apply(podManifest("before", spec));
    await node().untilReady("before");
    await node().untilLogged("before", "main", "the second");
    assert.equal(await node().logs("before", "main"), "the second\n");
    assert.equal(await node().logs("before", "main", "previous=true"), "the first\n");
  });

  test("a log that grows is rotated, and goes on", async () => {
    await node().apply(podManifest("rotated", { containers: [shell("main", `yes | head -c 300000; ${waits}`)] }));
    const { metadata } = await node().untilReady("rotated");
    const folder = join(node().kubelet.place.podLogs, `${podNamespace}_${metadata.name}_${metadata.uid}`, "main");
    const rotated = await lookUntil("the kubelet rotates the log", async () => {
      const names = await readdir(folder);
      return names.includes("0.log") ? names.find((name) => /^0\.log\.\d/.test(name)) : undefined;
    });
    assert.match(rotated, /^0\.log\.\d{8}-\d{6}$/);
    await node().run("rotated", "main", "dd if=/etc/hostname of=/proc/1/fd/1");
    await node().untilLogged("rotated", "main", "rotated");
  });
}

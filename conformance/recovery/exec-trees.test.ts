import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import test, { after, before, describe } from "node:test";
import { status } from "@grpc/grpc-js";
import { hasStatus } from "../harness/cri-client.ts";
import { containerConfig, sandboxConfig } from "../harness/cri-configs.ts";
import { patience } from "../harness/patience.ts";
import { exec, removePod } from "../harness/streams.ts";
import { TestNode } from "../harness/test-node.ts";
import { until } from "../harness/until.ts";
import { sleeping } from "./processes.ts";

const isV2 = existsSync("/sys/fs/cgroup/cgroup.controllers");
const parent = "/nacelle-conformance";
/** It has left its session and lost its parent: with v1 nobody would find it. */
const daemon = (seconds: number) => (isV2 ? `setsid sh -c "setsid sleep ${seconds} & exit"; ` : "");

for (const handler of ["runc", "crun"]) {
  describe(`what a command of ${handler} has started`, () => {
    const owned = new AsyncDisposableStack();
    let node: TestNode;
    let pod: { readonly podSandboxId: string; readonly containerId: string };

    before(async () => {
      node = owned.use(await TestNode.start());
      pod = await run("trees");
    });
    after(() => owned.disposeAsync());

    async function run(name: string, privileged = false) {
      const plain = sandboxConfig(name, { cgroupParent: parent });
      const config = privileged
        ? { ...plain, linux: { cgroupParent: parent, securityContext: { privileged } } }
        : plain;
      const { podSandboxId } = await node.cri.call("RunPodSandbox", { config, runtimeHandler: handler });
      const inside = {
        ...containerConfig(name),
        ...(privileged ? { linux: { securityContext: { privileged } } } : {}),
      };
      const request = { podSandboxId, sandboxConfig: config, config: inside };
      const { containerId } = await node.cri.call("CreateContainer", request);
      await node.cri.call("StartContainer", { containerId });
      return { podSandboxId, containerId };
    }

    const sh = (containerId: string, script: string, timeout = "0") =>
      node.cri.call("ExecSync", { containerId, cmd: ["sh", "-c", script], timeout });

    /** Cgroups of commands. */
    async function cgroups(): Promise<readonly string[]> {
      if (!isV2) return [];
      const names = await readdir(join("/sys/fs/cgroup", parent, pod.containerId));
      return names.filter((name) => name.startsWith("exec-"));
    }

    const nothingIsLeftOf = (seconds: string) =>
      until(
        `nothing is left that sleeps ${seconds}`,
        async () => (await sleeping(seconds)) + (await cgroups()).length === 0,
      );

    test("ends with it when its time is over", async () => {
      const script = `${daemon(96001)}sleep 96001 & setsid sleep 96001 & sleep 96001`;
      const late = sh(pod.containerId, script, String(patience(4)));
      const cut = assert.rejects(late, (error) => hasStatus(error, status.DEADLINE_EXCEEDED));
      await until("all of them sleep", async () => (await sleeping("96001")) === (isV2 ? 4 : 3));
      await cut;
      await nothingIsLeftOf("96001");
    });

    test("ends with it when its client leaves", async () => {
      const script = `${daemon(96002)}sleep 96002 & setsid sleep 96002 & echo up; sleep 96002`;
      const session = await exec(node.cri, pod.containerId, ["sh", "-c", script], "stdout");
      await new Promise<void>((resolve) => session.stream("stdout").listen(() => resolve()));
      await until("all of them sleep", async () => (await sleeping("96002")) === (isV2 ? 4 : 3));
      session.client.destroy();
      await nothingIsLeftOf("96002");
    });

    test("goes on when it has ended by itself, until its container does", async () => {
      const { stdout } = await sh(pod.containerId, "sleep 96003 >/dev/null 2>&1 & cat /proc/self/cgroup");
      assert.equal(await sleeping("96003"), 1);
      assert.equal((await cgroups()).length, isV2 ? 1 : 0);
      if (isV2) assert.match(stdout.toString(), /^0::\/exec-\d+\n$/);
      await node.cri.call("StopContainer", { containerId: pod.containerId, timeout: "0" });
      await until("it is gone", async () => (await sleeping("96003")) === 0);
    });

    test("stays in the container's own cgroup when that is privileged", { skip: !isV2 && "cgroup v1" }, async () => {
      const one = await run("privileged", true);
      const { stdout } = await sh(one.containerId, "cat /proc/self/cgroup");
      assert.doesNotMatch(stdout.toString(), /exec-/);
      await removePod(node.cri, one.podSandboxId);
    });

    test("leaves nothing behind", async () => {
      await removePod(node.cri, pod.podSandboxId);
      await node.assertCleanEnd();
    });
  });
}

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import test, { after, before, describe } from "node:test";
import { status } from "@grpc/grpc-js";
import { hasStatus } from "../harness/cri-client.ts";
import { containerConfig, sandboxConfig } from "../harness/cri-configs.ts";
import { TestNode } from "../harness/test-node.ts";
import { liveAttacks, plantTraps } from "./live.ts";

for (const runtime of ["runc", "crun"] as const) {
  describe(`what a node cannot or must not do, with ${runtime}`, () => {
    const owned = new AsyncDisposableStack();
    let node: TestNode;
    let folder: string;
    let sandbox: { readonly podSandboxId: string; readonly sandboxConfig: object };

    before(async () => {
      node = owned.use(await TestNode.start({ defaultRuntime: runtime }));
      folder = join(node.server.paths.folder, "traps");
      await plantTraps(folder);
      const config = sandboxConfig("target", { logDirectory: join(folder, "logs") });
      sandbox = { ...(await node.cri.call("RunPodSandbox", { config })), sandboxConfig: config };
    });
    after(() => owned.disposeAsync());

    /** What was wrong with it may show only when it is started. */
    const attempt = async (config: object) => {
      const { containerId } = await node.cri.call("CreateContainer", { ...sandbox, config }, { deadlineMs: 30_000 });
      await node.cri.call("StartContainer", { containerId }, { deadlineMs: 30_000 });
    };

    test("is refused with a fitting code and says what is wrong", async () => {
      const hosts = await readFile("/etc/hostname", "utf8");
      const wrong: string[] = [];
      for (const { what, config, codes, names } of liveAttacks(folder, runtime)) {
        const error: unknown = await attempt(config).catch((reason: unknown) => reason);
        const fits = codes.some((code) => hasStatus(error, code) && names.test(error.details));
        if (!fits) wrong.push(`${what}: ${String(error).slice(0, 400)}`);
      }
      assert.deepEqual(wrong, []);
      assert.equal(await readFile("/etc/hostname", "utf8"), hosts);
      // A start that failed is an exited container, which a kubelet looks at.
      for (const { id, state } of (await node.cri.call("ListContainers", {})).containers) {
        assert.equal(state, "CONTAINER_EXITED");
        await node.cri.call("RemoveContainer", { containerId: id });
      }
    });

    test("a log that is a pipe nobody reads holds up nobody", async () => {
      const config = containerConfig("pipe", { logPath: "pipe.log" });
      const made = await node.cri
        .call("CreateContainer", { ...sandbox, config }, { deadlineMs: 20_000 })
        .catch(() => undefined);
      if (made !== undefined) await node.cri.call("RemoveContainer", made, { deadlineMs: 20_000 });
    });

    test("commands that cannot be executed fail and the container lives on", async () => {
      const config = containerConfig("lives");
      const { containerId } = await node.cri.call("CreateContainer", { ...sandbox, config });
      await node.cri.call("StartContainer", { containerId });
      for (const cmd of [["/no/such"], ["/etc"], ["sh", "x".repeat(3 << 20)], new Array(90_000).fill("x".repeat(40))]) {
        const call = node.cri.call("ExecSync", { containerId, cmd, timeout: "20" });
        const { exitCode } = await call.catch(() => ({ exitCode: 126 }));
        assert.notEqual(exitCode, 0, String(cmd[0]));
      }
      const flood = await node.cri.call("ExecSync", {
        containerId,
        cmd: ["sh", "-c", "yes | head -c 20000000"],
        timeout: "60",
      });
      assert.ok(flood.stdout.length > 1_000_000 && flood.stdout.length <= 16 << 20);
      assert.equal((await node.cri.call("ContainerStatus", { containerId })).status.state, "CONTAINER_RUNNING");
    });

    test("leaves nothing", async () => {
      await node.cri.call("StopPodSandbox", sandbox);
      await node.cri.call("RemovePodSandbox", sandbox);
      await assert.rejects(node.cri.call("PodSandboxStatus", sandbox), (error) => hasStatus(error, status.NOT_FOUND));
      await node.assertCleanEnd();
    });
  });
}

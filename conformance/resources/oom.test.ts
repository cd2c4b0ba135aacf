import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, mkdtempDisposable, readdir, rmdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after, before, describe } from "node:test";
import { containerConfig, sandboxConfig } from "../harness/cri-configs.ts";
import { TestNode } from "../harness/test-node.ts";
import { endOf, until } from "../harness/until.ts";

/** Takes twice the 64 MiB that containers have here, and no swap. */
const HOG = "dd if=/dev/zero of=/dev/null bs=128M count=1";
const isV2 = existsSync("/sys/fs/cgroup/cgroup.controllers");
const CGROUPS = isV2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
const POD_LIMITS = isV2
  ? { "memory.max": "67108864", "memory.swap.max": "0" }
  : { "memory.limit_in_bytes": "67108864", "memory.memsw.limit_in_bytes": "67108864" };
const limited = { memoryLimitInBytes: "67108864", memorySwapLimitInBytes: "67108864" };

interface Run {
  readonly podSandboxId: string;
  readonly containerId: string;
}

for (const handler of ["runc", "crun"]) {
  describe(`a container of ${handler} that runs out of memory`, () => {
    const owned = new AsyncDisposableStack();
    let node: TestNode;
    /** Seen by containers as /go. */
    let folder: string;

    before(async () => {
      node = owned.use(await TestNode.start());
      folder = owned.use(await mkdtempDisposable(join(tmpdir(), "go-"))).path;
    });
    after(async () => {
      await using _owned = owned;
      await node.assertCleanEnd();
    });

    async function run(
      name: string,
      command: string,
      resources: object = limited,
      cgroupParent?: string,
    ): Promise<Run> {
      const config = sandboxConfig(name, cgroupParent === undefined ? {} : { cgroupParent });
      const { podSandboxId } = await node.cri.call("RunPodSandbox", { config, runtimeHandler: handler });
      await mkdir(join(folder, name));
      const mounts = [{ containerPath: "/go", hostPath: join(folder, name) }];
      const inside = containerConfig(name, { command: ["sh", "-c", command], mounts, resources: { ...resources } });
      const request = { podSandboxId, sandboxConfig: config, config: inside };
      const { containerId } = await node.cri.call("CreateContainer", request);
      return { podSandboxId, containerId };
    }

    async function started(...args: Parameters<typeof run>): Promise<Run> {
      const one = await run(...args);
      await node.cri.call("StartContainer", { containerId: one.containerId });
      return one;
    }

    async function ending({ containerId }: Run): Promise<readonly [number, string]> {
      const { exitCode, reason } = await endOf(node.cri, containerId);
      return [exitCode, reason];
    }

    async function remove({ podSandboxId }: Run): Promise<void> {
      await node.cri.call("StopPodSandbox", { podSandboxId });
      await node.cri.call("RemovePodSandbox", { podSandboxId });
    }

    const go = (name: string) => writeFile(join(folder, name, "now"), "");
    const wait = "until [ -e /go/now ]; do sleep 0.02; done";

    test("in its first process is OOMKilled, and stays so when its cgroup is gone and the server is another", async () => {
      const one = await started("first", `exec ${HOG}`);
      assert.deepEqual(await ending(one), [137, "OOMKilled"]);
      await node.cri.call("StopPodSandbox", { podSandboxId: one.podSandboxId });
      await node.server.kill();
      await node.server.restart();
      assert.deepEqual(await ending(one), [137, "OOMKilled"]);
      await remove(one);
    });

    test("while no server runs is OOMKilled", async () => {
      const one = await started("unseen", `${wait}; exec ${HOG}`);
      await node.server.kill();
      await go("unseen");
      await node.server.restart();
      assert.deepEqual(await ending(one), [137, "OOMKilled"]);
      await remove(one);
    });

    test("of its pod is OOMKilled", async () => {
      const parent = "/nacelle-conformance-oom";
      const one = await run("pods", `exec ${HOG}`, { memoryLimitInBytes: "0" }, parent);
      for (const [file, limit] of Object.entries(POD_LIMITS)) {
        // Without swap there is no limit on it.
        if (existsSync(join(CGROUPS, parent, file))) await writeFile(join(CGROUPS, parent, file), limit);
      }
      await node.cri.call("StartContainer", { containerId: one.containerId });
      assert.deepEqual(await ending(one), [137, "OOMKilled"]);
      await remove(one);
      for (const hierarchy of await hierarchies()) await rmdir(join(hierarchy, parent));
    });

    test("in a child that its first process survives ended as that says", async () => {
      const one = await started("child", `${HOG}; exit 0`);
      assert.deepEqual(await ending(one), [0, "Completed"]);
      const two = await started("passed-on", `${HOG}; exit $?`);
      assert.deepEqual(await ending(two), [137, "Error"]);
      await Promise.all([one, two].map(remove));
    });

    test("in a command executed in it ended as it does later, and not for memory", async () => {
      const one = await started("exec", `${wait}; exit 137`);
      const cmd = ["sh", "-c", `exec ${HOG}`];
      const { exitCode } = await node.cri.call("ExecSync", { containerId: one.containerId, cmd });
      assert.equal(exitCode, 137);
      await go("exec");
      assert.deepEqual(await ending(one), [137, "Error"]);
      await remove(one);
    });

    test("in a child, and is stopped by force later, was not killed for memory", async () => {
      const one = await started("stopped", `${HOG}; touch /go/lived; sleep 1000`);
      const cmd = ["sh", "-c", "until [ -e /go/lived ]; do sleep 0.02; done"];
      await node.cri.call("ExecSync", { containerId: one.containerId, cmd });
      const said = "killed processes of a container";
      await until("the log says so", async () => (await node.server.logTail()).includes(said));
      await node.cri.call("StopContainer", { containerId: one.containerId, timeout: "0" });
      assert.deepEqual(await ending(one), [137, "Error"]);
      await remove(one);
    });
  });
}

/** Mounted in the isolation. */
async function hierarchies(): Promise<readonly string[]> {
  if (isV2) return [CGROUPS];
  return (await readdir("/sys/fs/cgroup")).map((name) => join("/sys/fs/cgroup", name));
}

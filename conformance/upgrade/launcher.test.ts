import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { sandboxConfig } from "../harness/cri-configs.ts";
import { earlierVersion, InstalledNative, runsBinary } from "../harness/earlier-version.ts";
import { Gated } from "../harness/gated.ts";
import { TestNode } from "../harness/test-node.ts";
import { processes } from "../recovery/processes.ts";

test("a launcher of version 1 that does not go is ended by today's, with the plugin that it ran", async () => {
  await using owned = new AsyncDisposableStack();
  const { native } = await earlierVersion("v1");
  const plugin = owned.use(await Gated.plugin("bridge"));
  const config = sandboxConfig("fenced");
  let node: TestNode;
  let launchers: readonly number[];
  let pluginPid: number | undefined;
  {
    await using _version1 = await InstalledNative.install(native);
    const settings = { "cni.binDirs": `[${plugin.binDir}, /usr/lib/cni]` };
    node = owned.use(await TestNode.start({ settings }));
    await plugin.set("ADD", "hold");
    const cut = assert.rejects(node.cri.call("RunPodSandbox", { config }));
    pluginPid = (await plugin.held())[0]?.pid;
    launchers = await processes("nacelle-native");
    for (const pid of launchers) {
      assert.ok(await runsBinary(pid, native));
      process.kill(pid, "SIGSTOP");
    }
    await node.server.kill();
    await cut;
  }
  await plugin.set("ADD", "pass");
  await node.server.restart();
  const now = new Set(await processes("nacelle-native"));
  assert.ok(now.size > 0 && launchers.length > 0 && launchers.every((pid) => !now.has(pid)));
  assert.ok(await hasEnded(pluginPid));
  const { podSandboxId } = await node.cri.call("RunPodSandbox", { config });
  await node.cri.call("StopPodSandbox", { podSandboxId });
  await node.cri.call("RemovePodSandbox", { podSandboxId });
  await node.assertCleanEnd();
});

/** Gone, or not yet looked at by the first process, which may be late. */
async function hasEnded(pid: number | undefined): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => ") Z ");
  return /\) [ZX] /.test(stat);
}

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test, { after, before, describe } from "node:test";
import { status } from "@grpc/grpc-js";
import { hasStatus } from "../harness/cri-client.ts";
import { sandboxConfig } from "../harness/cri-configs.ts";
import { Gated, pluginFailure } from "../harness/gated.ts";
import { TestNode } from "../harness/test-node.ts";

describe("a CNI plugin", () => {
  const owned = new AsyncDisposableStack();
  let node: TestNode;
  let plugin: Gated;

  before(async () => {
    plugin = owned.use(await Gated.plugin("bridge"));
    const settings = { "cni.binDirs": `[${plugin.binDir}, /usr/lib/cni]`, "cni.timeout": "3s" };
    node = owned.use(await TestNode.start({ settings }));
  });
  after(() => owned.disposeAsync());

  const run = (name: string) => node.cri.call("RunPodSandbox", { config: sandboxConfig(name) });
  const listed = async () => (await node.cri.call("ListPodSandbox", {})).items;

  for (const [mode, expected] of [
    ["fail", new RegExp(`bridge ADD.*${pluginFailure.msg}.*${pluginFailure.details}.*${pluginFailure.code}`)],
    ["garbage", /bridge ADD.*This is \{no JSON/],
  ] as const) {
    test(`that answers ADD with ${mode === "fail" ? "an error" : mode} is quoted whole, and nothing is left of the pod`, async () => {
      await plugin.set("ADD", mode);
      await assert.rejects(run(mode), (error) => {
        assert.ok(hasStatus(error, status.UNAVAILABLE), String(error));
        assert.match(error.details, expected);
        return true;
      });
      assert.deepEqual(await listed(), []);
      await node.assertClean();
      await plugin.set("ADD", "pass");
      await node.cri.call("RemovePodSandbox", await run(mode));
      await node.assertClean();
    });
  }

  test("that does not answer in time is killed and named, with its deadline", async () => {
    await plugin.set("ADD", "hold");
    await assert.rejects(run("late"), (error) => {
      assert.ok(hasStatus(error, status.DEADLINE_EXCEEDED), String(error));
      assert.match(error.details, /CNI plugin bridge ADD did not answer within 3s/);
      return true;
    });
    assert.deepEqual(await listed(), []);
    await node.assertClean();
    await plugin.set("ADD", "pass");
  });

  for (const mode of ["hold", "late"] as const) {
    const when = mode === "hold" ? "before it did anything" : "when it has done all and said nothing";
    test(`that outlives its daemon in ADD, ${when}, ends before the next one acts`, async () => {
      await plugin.set("ADD", mode);
      const cut = assert.rejects(run(`cut-${mode}`));
      const [held] = await plugin.held();
      await node.server.kill();
      await cut;
      await plugin.set("ADD", "pass");
      await node.server.restart();
      // One that is dead and not reaped yet has no command line any more.
      assert.equal(await readFile(`/proc/${held?.pid}/cmdline`, "utf8").catch(() => ""), "");
      assert.deepEqual(await listed(), []);
      await node.assertClean();
      await node.cri.call("RemovePodSandbox", await run(`cut-${mode}`));
      await node.assertClean();
    });
  }

  test("that outlives its daemon in DEL ends too, and the pod can be stopped", async () => {
    const { podSandboxId } = await run("cut-del");
    await plugin.set("DEL", "late");
    const cut = assert.rejects(node.cri.call("StopPodSandbox", { podSandboxId }));
    await plugin.held();
    await node.server.kill();
    await cut;
    await plugin.set("DEL", "pass");
    await node.server.restart();
    assert.deepEqual(
      (await listed()).map(({ id, state }) => [id, state]),
      [[podSandboxId, "SANDBOX_NOTREADY"]],
    );
    await node.cri.call("StopPodSandbox", { podSandboxId });
    await node.cri.call("RemovePodSandbox", { podSandboxId });
    await node.assertClean();
  });

  test("whose DEL fails makes StopPodSandbox fail with its words, until it succeeds", async () => {
    const { podSandboxId } = await run("owed");
    await plugin.set("DEL", "fail");
    for (const method of ["StopPodSandbox", "StopPodSandbox", "RemovePodSandbox"]) {
      await assert.rejects(node.cri.call(method, { podSandboxId }), (error) => {
        assert.ok(hasStatus(error, status.UNAVAILABLE), String(error));
        assert.match(error.details, new RegExp(`bridge DEL.*${pluginFailure.msg}.*${pluginFailure.details}`));
        return true;
      });
    }
    assert.equal((await listed())[0]?.state, "SANDBOX_NOTREADY");
    await plugin.set("DEL", "pass");
    await node.cri.call("StopPodSandbox", { podSandboxId });
    await node.cri.call("RemovePodSandbox", { podSandboxId });
  });

  test("left no row of any pod", () => node.assertCleanEnd());
});

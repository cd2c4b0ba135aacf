import assert from "node:assert/strict";
import { copyFile, readFile, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after, before, describe } from "node:test";
import { containerConfig, type SandboxOptions, sandboxConfig } from "../harness/cri-configs.ts";
import { TestNode } from "../harness/test-node.ts";
import { endOf, until } from "../harness/until.ts";
import { processes } from "./processes.ts";

/** In the folder that goes with the isolation. */
const runtime = join(tmpdir(), "crun");

describe("processes that are lost", () => {
  let node: TestNode;

  before(async () => {
    await copyFile("/usr/bin/crun", runtime);
    node = await TestNode.start({ settings: { "runtimes.crun.path": runtime } });
  });
  after(async () => {
    await node[Symbol.asyncDispose]();
    await rm(runtime, { force: true });
  });

  /** A sandbox with one running container. */
  async function pod(name: string, handler: string, options: SandboxOptions = {}, script?: string) {
    const config = sandboxConfig(name, options);
    const { podSandboxId } = await node.cri.call("RunPodSandbox", { config, runtimeHandler: handler });
    const inside = containerConfig(name, script === undefined ? {} : { command: ["sh", "-c", script] });
    const request = { podSandboxId, sandboxConfig: config, config: inside };
    const { containerId } = await node.cri.call("CreateContainer", request);
    await node.cri.call("StartContainer", { containerId });
    return { podSandboxId, containerId };
  }

  async function removed({ podSandboxId }: { readonly podSandboxId: string }): Promise<void> {
    await node.cri.call("StopPodSandbox", { podSandboxId });
    await node.cri.call("RemovePodSandbox", { podSandboxId });
    await node.assertClean();
  }

  for (const handler of ["runc", "crun"]) {
    test(`${handler}: a command that is not there is a failed start with its own words, and exit code 128`, async () => {
      const config = sandboxConfig(`none-${handler}`);
      const { podSandboxId } = await node.cri.call("RunPodSandbox", { config, runtimeHandler: handler });
      for (let round = 0; round < 5; round += 1) {
        const absent = containerConfig("none", { attempt: round, command: ["/nothing-here"] });
        const request = { podSandboxId, sandboxConfig: config, config: absent };
        const started = node.cri.call("CreateContainer", request).then(async ({ containerId }) => {
          await assert.rejects(node.cri.call("StartContainer", { containerId }), /nothing-here/);
          const { exitCode, reason } = await endOf(node.cri, containerId);
          assert.deepEqual([exitCode, reason], [128, "StartError"]);
        });
        // Some runtimes look for it when they create the container.
        await started.catch((error) => assert.match(String(error), /nothing-here/));
      }
      await removed({ podSandboxId });
    });
  }

  test("a monitor that hangs is ended by the next daemon", async () => {
    const made = await pod("restart", "runc", { pid: "POD" });
    for (const pid of await processes("nacelle-monitor")) process.kill(pid, "SIGSTOP");
    await node.server.kill();
    await node.server.restart();
    const { exitCode, reason } = await endOf(node.cri, made.containerId);
    assert.deepEqual([exitCode, reason], [255, "MonitorLost"]);
    await removed(made);
  });

  test("launcher and monitor lost at once: the container is reported, the pod can go", async () => {
    const made = await pod("both", "runc");
    for (const pid of [...(await processes("nacelle-native")), ...(await processes("nacelle-monitor"))]) {
      process.kill(pid, "SIGKILL");
    }
    assert.equal((await endOf(node.cri, made.containerId)).exitCode, 255);
    await removed(made);
  });

  test("what ended before its hanging monitor was killed has its own exit code", async () => {
    const made = await pod("early", "runc", {}, "trap 'exit 7' TERM; sleep 1000 & wait");
    const { info } = await node.cri.call("ContainerStatus", { containerId: made.containerId, verbose: true });
    const { pid } = JSON.parse(info.info ?? "{}");
    const monitors = await processes("nacelle-monitor");
    for (const monitor of monitors) process.kill(monitor, "SIGSTOP");
    process.kill(pid, "SIGTERM");
    await until("it has ended", async () => /\) Z /.test(await readFile(`/proc/${pid}/stat`, "utf8")));
    for (const monitor of monitors) process.kill(monitor, "SIGKILL");
    const { exitCode, reason } = await endOf(node.cri, made.containerId);
    assert.deepEqual([exitCode, reason], [7, "Error"]);
    await removed(made);
  });

  test("a runtime that was uninstalled keeps no pod from going", async () => {
    const made = await pod("gone", "crun", { pid: "POD" });
    await rename(runtime, `${runtime}.away`);
    await node.server.kill();
    await node.server.restart();
    await removed(made);
    await rename(`${runtime}.away`, runtime);
  });
});

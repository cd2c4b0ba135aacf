import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import test, { after, before, describe } from "node:test";
import { containerConfig } from "../harness/cri-configs.ts";
import { Pod } from "../harness/pod.ts";
import { TestNode } from "../harness/test-node.ts";
import { until } from "../harness/until.ts";

for (const runtime of ["runc", "crun"] as const) {
  describe(`a container with a terminal, with ${runtime}`, () => {
    const owned = new AsyncDisposableStack();
    let node: TestNode;

    before(async () => {
      node = owned.use(await TestNode.start({ defaultRuntime: runtime }));
    });
    after(() => owned.disposeAsync());

    async function start(pod: Pod, script: string, more: object): Promise<string> {
      const config = { ...containerConfig("c", { command: ["sh", "-c", script], logPath: "c/0.log" }), ...more };
      const { containerId } = await node.cri.call("CreateContainer", { ...pod.sandbox, config });
      await node.cri.call("StartContainer", { containerId });
      return containerId;
    }

    test("has one for input and output, which is logged as stdout, and knows its kind", async () => {
      const logDirectory = await node.logDirectory("tty");
      const pod = await Pod.run(node, "tty", { logDirectory });
      const script = "trap 'exit 7' TERM; tty; tty <&2 >&2; echo $TERM; while :; do sleep 0.05; done";
      const containerId = await start(pod, script, { tty: true, stdin: true });
      // What is executed without a terminal has none, whatever its container has.
      assert.match((await pod.attempt(containerId, "tty; echo $TERM")).output, /^not a tty\nxterm\n$/);
      const log = () => readFile(join(logDirectory, "c/0.log"), "utf8");
      await until("the container has said all", async () => (await log()).includes("xterm\r\n"));
      await node.cri.call("StopContainer", { containerId, timeout: "10" });
      const { status } = await node.cri.call("ContainerStatus", { containerId });
      assert.equal(status.exitCode, 7);
      const lines = (await log()).split("\n").map((line) => line.split(" ").slice(1).join(" "));
      assert.deepEqual(lines, ["stdout F /dev/pts/0\r", "stdout F /dev/pts/0\r", "stdout F xterm\r", ""]);
      await pod.remove();
      await node.assertClean();
    });

    test("keeps it when the server is killed", async () => {
      const logDirectory = await node.logDirectory("kept");
      const pod = await Pod.run(node, "kept", { logDirectory });
      const script = "trap 'tty; exit 8' TERM; while :; do sleep 0.05; done";
      const containerId = await start(pod, script, { tty: true, stdin: true, stdinOnce: true });
      await node.server.kill();
      await node.server.restart();
      await node.cri.call("StopContainer", { containerId, timeout: "10" });
      const { status } = await node.cri.call("ContainerStatus", { containerId });
      assert.equal(status.exitCode, 8);
      assert.match(await readFile(join(logDirectory, "c/0.log"), "utf8"), /^\S+ stdout F \/dev\/pts\/0\r\n$/);
      await pod.remove();
      await node.assertClean();
    });
  });
}

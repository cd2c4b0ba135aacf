import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import test, { after, before, describe } from "node:test";
import { containerConfig } from "../harness/cri-configs.ts";
import { Pod } from "../harness/pod.ts";
import { TestNode } from "../harness/test-node.ts";
import { skipWithoutTools, tool } from "../harness/tools.ts";

interface Running {
  readonly child: ChildProcess & { readonly stdin: NodeJS.WritableStream };
  /** All of it, and how it ended. */
  readonly ended: Promise<{ readonly stdout: string; readonly stderr: string; readonly code: number }>;
}

for (const runtime of ["runc", "crun"] as const) {
  describe(`streams through crictl, with ${runtime}`, { skip: skipWithoutTools }, () => {
    const owned = new AsyncDisposableStack();
    let node: TestNode;
    let pod: Pod;

    before(async () => {
      node = owned.use(await TestNode.start({ defaultRuntime: runtime }));
      const config = join(node.server.paths.folder, "crictl.yaml");
      const { endpoint } = node.server;
      await writeFile(config, `runtime-endpoint: ${endpoint}\nimage-endpoint: ${endpoint}\ntimeout: 30\n`);
      pod = await Pod.run(node, "streams");
    });
    after(() => owned.disposeAsync());

    function crictl(...args: string[]): Running {
      const config = join(node.server.paths.folder, "crictl.yaml");
      const child = spawn(tool("crictl"), [`--config=${config}`, ...args], { stdio: ["pipe", "pipe", "pipe"] });
      const exit = once(child, "exit");
      const ended = Promise.all([text(child.stdout), text(child.stderr), exit]).then(([stdout, stderr, [code]]) => ({
        ...{ stdout, stderr },
        code: Number(code),
      }));
      return { child, ended };
    }

    async function start(name: string, script: string, more: object = {}): Promise<string> {
      const config = { ...containerConfig(name, { command: ["sh", "-c", script] }), ...more };
      const { containerId } = await node.cri.call("CreateContainer", { ...pod.sandbox, config });
      await node.cri.call("StartContainer", { containerId });
      return containerId;
    }

    test("exec carries input and both outputs, and says how the command ended", async () => {
      const id = await start("exec", "sleep 1000");
      const { child, ended } = crictl("exec", "-i", id, "sh", "-c", "cat; echo err >&2; exit 3");
      child.stdin.end("in and out");
      const { stdout, stderr, code } = await ended;
      assert.equal(stdout, "in and out");
      assert.match(stderr, /^err\n(.|\n)*exit.*3/);
      assert.notEqual(code, 0);
    });

    test("exec carries more than any buffer holds, whole", { timeout: 60_000 }, async () => {
      const id = await start("much", "sleep 1000");
      const { ended } = crictl("exec", id, "sh", "-c", "yes 0123456789abcde | head -c 32000000");
      const { stdout } = await ended;
      assert.equal(stdout.length, 32_000_000);
      assert.ok(stdout === "0123456789abcde\n".repeat(2_000_000));
    });

    test("what a client leaves behind is ended", async () => {
      const id = await start("left", "sleep 1000");
      const { child } = crictl("exec", "-i", id, "sh", "-c", "echo up; exec sleep 91100");
      assert.ok(child.stdout !== null);
      await once(child.stdout, "data");
      child.kill("SIGKILL");
      // No event tells of another container's process: looked for until the test's own limit.
      while ((await pod.attempt(id, "ps | grep -c '[9]1100'")).output.trim() !== "0");
    });

    test("attach types into a container, and its end of input is the container's when it is once", async () => {
      const id = await start("attach", "cat; exit 6", { stdin: true, stdinOnce: true });
      const { child, ended } = crictl("attach", "-i", id);
      child.stdin.end("typed\n");
      assert.equal((await ended).stdout, "typed\n");
      const { status } = await node.cri.call("ContainerStatus", { containerId: id });
      assert.equal(status.exitCode, 6);
    });

    test("port-forward reaches what listens on loopback of the pod", { timeout: 60_000 }, async () => {
      const id = await start("server", "while :; do echo inside | nc -l -p 8080; done");
      // Listening is no event: it is looked for until the test's own limit.
      while (!(await pod.attempt(id, "netstat -ltn")).output.includes(":8080"));
      const { child } = crictl("port-forward", String(pod.sandbox.podSandboxId), "18080:8080");
      assert.ok(child.stdout !== null);
      await once(child.stdout, "data"); // "Forwarding from …"
      assert.equal(await text(createConnection({ port: 18080, host: "127.0.0.1" })), "inside\n");
      child.kill("SIGTERM");
      await once(child, "exit");
    });

    test("a server that is killed takes its commands with it, and leaves what it was attached to", async () => {
      const watched = await start("watched", "trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done", {
        tty: true,
      });
      const attached = crictl("attach", watched);
      const executed = crictl("exec", "-i", watched, "sh", "-c", "trap '' HUP; echo up; exec sleep 91101");
      assert.ok(executed.child.stdout !== null);
      await once(executed.child.stdout, "data");
      await node.server.kill();
      await Promise.all([attached.ended, executed.ended]);
      await node.server.restart();
      while ((await pod.attempt(watched, "ps | grep -c '[9]1101'")).output.trim() !== "0");
      await node.cri.call("StopContainer", { containerId: watched, timeout: "10" });
      assert.equal((await node.cri.call("ContainerStatus", { containerId: watched })).status.exitCode, 9);
    });

    test("nothing is left behind", async () => {
      await pod.remove();
      await node.assertClean();
    });
  });
}

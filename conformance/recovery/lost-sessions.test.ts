import assert from "node:assert/strict";
import test, { after, before, describe } from "node:test";
import { status } from "@grpc/grpc-js";
import { hasStatus } from "../harness/cri-client.ts";
import { SpdyClient } from "../harness/spdy-client.ts";
import { exec, removePod, runPod, SpdySession, streamUrl } from "../harness/streams.ts";
import { TestNode } from "../harness/test-node.ts";
import { endOf, until } from "../harness/until.ts";
import { processes, sleeping } from "./processes.ts";

/** Says something, so that it is known to be there, and stays. */
const stays = ["sh", "-c", "echo up; exec sleep 95001"];

for (const runtime of ["crun", "runc"] as const) {
  describe(`a monitor of ${runtime} that is killed while clients are connected`, () => {
    const owned = new AsyncDisposableStack();
    let node: TestNode;

    before(async () => {
      node = owned.use(await TestNode.start({ defaultRuntime: runtime }));
    });
    after(() => owned.disposeAsync());

    test("is an error for each of them, and keeps none waiting", { timeout: 120_000 }, async () => {
      await using clients = new AsyncDisposableStack();
      const listens = "while :; do nc -l -p 9000 -e cat; done & echo up; exec sleep 95002";
      const { podSandboxId, containerId } = await runPod(node.cri, "sessions", {
        ...{ command: ["sh", "-c", listens], stdin: true },
      });
      const executed = clients.use(await exec(node.cri, containerId, stays, "stdin", "stdout"));
      await heard(executed);
      const attachUrl = await streamUrl(node.cri, "Attach", { containerId, stdin: true, stdout: true, stderr: true });
      const attached = clients.use(await SpdySession.open(attachUrl, "stdin", "stdout", "stderr"));
      const forwarded = clients.use(await forward(podSandboxId, containerId));
      const waiting = node.cri.call("ExecSync", { containerId, cmd: stays });
      const refused = assert.rejects(waiting, (error) => hasStatus(error, status.UNAVAILABLE));
      await until("both commands run", async () => (await sleeping("95001")) === 2);

      for (const pid of await processes("nacelle-monitor")) process.kill(pid, "SIGKILL");

      await refused;
      await assert.rejects(executed.exitCode(), /monitor|connection/);
      await assert.rejects(attached.exitCode(), /monitor|connection/);
      await forwarded.data.ended.catch(() => undefined);
      const { exitCode, reason } = await endOf(node.cri, containerId);
      assert.deepEqual([exitCode, reason], [255, "MonitorLost"]);
      assert.deepEqual([await sleeping("95001"), await sleeping("95002")], [0, 0]);
      const next = node.cri.call("ExecSync", { containerId, cmd: ["true"] });
      await assert.rejects(next, (error) => hasStatus(error, status.FAILED_PRECONDITION));
      await removePod(node.cri, podSandboxId);
      await node.assertClean();
    });

    test("leaves a server that serves others", async () => {
      const { podSandboxId, containerId } = await runPod(node.cri, "others");
      const { stdout } = await node.cri.call("ExecSync", { containerId, cmd: ["echo", "well"] });
      assert.equal(stdout.toString(), "well\n");
      await removePod(node.cri, podSandboxId);
      await node.assertCleanEnd();
    });

    /** A forwarded connection that is known to reach the pod: what is said to it comes back. */
    async function forward(podSandboxId: string, containerId: string) {
      const listening = { containerId, cmd: ["sh", "-c", "until netstat -ltn | grep -q :9000; do :; done"] };
      await node.cri.call("ExecSync", listening);
      const url = await streamUrl(node.cri, "PortForward", { podSandboxId, port: [9000] });
      const client = await SpdyClient.connect(url, ["portforward.k8s.io"]);
      const pair = { port: "9000", requestid: "0" };
      await client.open({ streamtype: "error", ...pair });
      const data = await client.open({ streamtype: "data", ...pair });
      const back = new Promise<void>((resolve) => data.listen(() => resolve()));
      await data.write("hello");
      await back;
      return { data, [Symbol.asyncDispose]: () => client[Symbol.asyncDispose]() };
    }
  });
}

async function heard(session: SpdySession): Promise<void> {
  await new Promise<void>((resolve) => session.stream("stdout").listen(() => resolve()));
}

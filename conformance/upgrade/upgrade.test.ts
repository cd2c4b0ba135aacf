/** A server with a newer native binary drives the monitors of version 1: their pods outlive the upgrade. */
import assert from "node:assert/strict";
import { readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import test, { after, before, describe } from "node:test";
import { earlierVersion, InstalledNative, runsBinary } from "../harness/earlier-version.ts";
import { written } from "../harness/event.ts";
import { SpdyClient } from "../harness/spdy-client.ts";
import { exec, SpdySession, streamUrl } from "../harness/streams.ts";
import { TestNode } from "../harness/test-node.ts";
import { OlderPod } from "./older-pod.ts";

const today = join(import.meta.dirname, "../../build/nacelle-native");
const asks = "trap 'exit 42' TERM; while :; do sleep 1000 & wait; done";
const soon = () => AbortSignal.timeout(30_000);

for (const runtime of ["runc", "crun"] as const) {
  describe(`after an upgrade from version 1, with ${runtime}`, () => {
    const owned = new AsyncDisposableStack();
    let native: string;
    let node: TestNode;
    let pod: OlderPod;
    let shared: OlderPod;
    let lost: OlderPod;
    const ids = { main: "", typed: "", away: "", shared: "", lost: "" };

    before(async () => {
      ({ native } = await earlierVersion("v1"));
      await using _version1 = await InstalledNative.install(native);
      node = owned.use(await TestNode.start({ defaultRuntime: runtime }));
      pod = await OlderPod.run(node, "pod");
      ids.main = await pod.start("main", asks);
      ids.typed = await pod.start("typed", "read -r line; echo got $line; cat", { stdin: true });
      ids.away = await pod.startGated("away", 7);
      shared = await OlderPod.run(node, "shared", { pid: "POD" });
      ids.shared = await shared.start("main", asks);
      lost = await OlderPod.run(node, "lost");
      ids.lost = await lost.startGated("main", 9);
      await node.server.stop();
      await pod.open("away", ids.away);
      await lost.open("main", ids.lost);
      process.kill(await monitorOf(lost), "SIGKILL");
    });
    before(() => node.server.restart());
    after(() => owned.disposeAsync());

    /** As the server that started it remembers it. */
    async function monitorOf({ sandboxId }: OlderPod): Promise<number> {
      const remembered = await readFile(join(node.server.paths.runDir, "p", sandboxId, "monitor"), "utf8");
      return Number(/\d+/.exec(remembered)?.[0]);
    }

    async function status(containerId: string) {
      return (await node.cri.call("ContainerStatus", { containerId })).status;
    }

    test("the monitors are those of version 1, and a new pod's is today's", async () => {
      for (const each of [pod, shared]) assert.ok(await runsBinary(await monitorOf(each), native));
      const fresh = await OlderPod.run(node, "fresh");
      const containerId = await fresh.start("main", asks);
      assert.ok(await runsBinary(await monitorOf(fresh), today));
      assert.equal(await fresh.pod.shell(containerId, "echo said"), "said\n");
      await node.cri.call("StopContainer", { containerId, timeout: "10" });
      assert.equal((await status(containerId)).exitCode, 42);
      await fresh.pod.remove();
    });

    test("pods and containers are told as they are", async () => {
      const { items } = await node.cri.call("ListPodSandbox", {});
      const states = Object.fromEntries(items.map(({ metadata, state }) => [metadata.name, state]));
      assert.deepEqual(states, { pod: "SANDBOX_READY", shared: "SANDBOX_READY", lost: "SANDBOX_NOTREADY" });
      for (const id of [ids.main, ids.typed, ids.shared]) assert.equal((await status(id)).state, "CONTAINER_RUNNING");
    });

    test("what ended while no server ran has its exit code, of the monitor and of a lost monitor's record", async () => {
      const [away, gone] = [await status(ids.away), await status(ids.lost)];
      assert.deepEqual([away.state, away.exitCode], ["CONTAINER_EXITED", 7]);
      assert.deepEqual([gone.state, gone.exitCode], ["CONTAINER_EXITED", 9]);
    });

    for (const which of ["main", "shared"] as const) {
      test(`commands run in ${which}, and are killed at their time`, async () => {
        const cmd = ["sh", "-c", "echo out; echo err >&2; exit 3"];
        const answer = await node.cri.call("ExecSync", { containerId: ids[which], cmd, timeout: "10" });
        assert.deepEqual([`${answer.stdout}`, `${answer.stderr}`, answer.exitCode], ["out\n", "err\n", 3]);
        const endless = { containerId: ids[which], cmd: ["sleep", "93000"], timeout: "1" };
        await assert.rejects(node.cri.call("ExecSync", endless), /DEADLINE_EXCEEDED/);
        assert.doesNotMatch(await pod.pod.shell(ids[which], "ps"), /sleep 93000/);
      });
    }

    test("a command's streams are carried", async () => {
      await using session = await exec(node.cri, ids.main, ["sh", "-c", "cat; exit 4"], "stdin", "stdout");
      await session.stream("stdin").write("there and back");
      session.stream("stdin").end();
      assert.equal(await session.stream("stdout").text(), "there and back");
      assert.equal(await session.exitCode(), 4);
    });

    test("a container that was started before is attached to", async () => {
      const asked = { containerId: ids.typed, stdin: true, stdout: true, stderr: true };
      const url = await streamUrl(node.cri, "Attach", asked);
      await using session = await SpdySession.open(url, "stdin", "stdout", "stderr");
      const { promise: heard, resolve } = Promise.withResolvers<string>();
      session.stream("stdout").listen((bytes) => resolve(bytes.toString()));
      await session.stream("stdin").write("line\n");
      assert.equal(await heard, "got line\n");
    });

    test("a port of the pod is reached", async () => {
      const script = "nc -l -p 8080 -e echo inside & until netstat -ltn | grep -q :8080; do :; done; echo listens";
      await using listening = await exec(node.cri, ids.main, ["sh", "-c", `${script}; wait`], "stdout");
      await new Promise<void>((resolve) => listening.stream("stdout").listen(() => resolve()));
      const url = await streamUrl(node.cri, "PortForward", { podSandboxId: pod.sandboxId });
      await using client = await SpdyClient.connect(url, ["portforward.k8s.io"]);
      await client.open({ streamtype: "error", port: "8080", requestid: "0" });
      const data = await client.open({ streamtype: "data", port: "8080", requestid: "0" });
      assert.equal(await data.text(), "inside\n");
    });

    test("its log goes on, and is rotated", async () => {
      await pod.pod.shell(ids.main, "echo before >/proc/1/fd/1");
      await written(pod.log("main"), "stdout F before\n", soon());
      const rotated = `${pod.log("main")}.1`;
      await rename(pod.log("main"), rotated);
      await node.cri.call("ReopenContainerLog", { containerId: ids.main });
      await pod.pod.shell(ids.main, "echo after >/proc/1/fd/2");
      await written(pod.log("main"), "stderr F after\n", soon());
      assert.match(await readFile(rotated, "utf8"), /^\S+ stdout F ready\n\S+ stdout F before\n$/);
    });

    test("its limits are changed and its figures told", async () => {
      const linux = { memoryLimitInBytes: "50331648" };
      await node.cri.call("UpdateContainerResources", { containerId: ids.main, linux });
      assert.equal((await status(ids.main)).resources?.linux?.["memoryLimitInBytes"], "50331648");
      const { stats } = await node.cri.call("ContainerStats", { containerId: ids.main });
      assert.ok(Number((stats as StatsOfMemory).memory.workingSetBytes.value) > 0);
    });

    test("further containers are started in its pod, logged, asked and stopped", async () => {
      const containerId = await pod.start("late", asks, { tty: false });
      assert.equal(await pod.pod.shell(containerId, "echo said"), "said\n");
      await node.cri.call("StopContainer", { containerId, timeout: "10" });
      assert.equal((await status(containerId)).exitCode, 42);
      const terminal = await pod.start("terminal", "tty; exit 5", { tty: true, stdin: true });
      await written(pod.log("terminal"), "/dev/pts/0\r\n", soon());
      await node.cri.call("RemoveContainer", { containerId: terminal });
      await node.cri.call("RemoveContainer", { containerId });
    });

    test("a server that is killed finds it again", async () => {
      await node.server.kill();
      await node.server.restart();
      assert.ok(await runsBinary(await monitorOf(pod), native));
      assert.equal(await pod.pod.shell(ids.main, "echo said"), "said\n");
    });

    test("it is stopped with its own exit code and removed, and nothing is left", async () => {
      for (const containerId of [ids.main, ids.shared]) {
        await node.cri.call("StopContainer", { containerId, timeout: "10" });
        assert.equal((await status(containerId)).exitCode, 42);
      }
      await node.cri.call("RemoveContainer", { containerId: ids.main });
      for (const each of [pod, shared, lost]) await each.pod.remove();
      await node.assertCleanEnd();
    });
  });
}

interface StatsOfMemory {
  readonly memory: { readonly workingSetBytes: { readonly value: string } };
}

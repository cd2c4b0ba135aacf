import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { SpdyClient } from "../harness/spdy-client.ts";
import { exec, removePod, runPod, SpdySession, streamUrl } from "../harness/streams.ts";
import { TestNode } from "../harness/test-node.ts";

const MiB = 1 << 20;
/** What one long exec prints. */
const megabytes = Number(process.env.NACELLE_EXEC_MB ?? 200);

for (const runtime of ["crun", "runc"] as const) {
  describe(`streams with ${runtime}`, () => {
    const owned = new AsyncDisposableStack();
    let node: TestNode;
    let pod: Awaited<ReturnType<typeof runPod>>;

    before(async () => {
      node = owned.use(await TestNode.start({ defaultRuntime: runtime }));
      pod = await runPod(node.cri, "streams");
    });
    after(() => owned.disposeAsync());

    test("an exec carries bytes both ways as they are", async () => {
      await using session = await exec(node.cri, pod.containerId, ["cat"], "stdin", "stdout");
      const [sent, received] = [createHash("sha256"), createHash("sha256")];
      session.stream("stdout").listen((data) => received.update(data));
      for (let count = 0; count < 32; count += 1) {
        const block = randomBytes(MiB);
        sent.update(block);
        await session.stream("stdin").write(block);
      }
      session.stream("stdin").end();
      assert.equal(await session.exitCode(), 0);
      assert.equal(received.digest("hex"), sent.digest("hex"));
    });

    test("an exec keeps its outputs apart and tells its exit code", async () => {
      const script = "echo out; echo err >&2; exit 7";
      await using session = await exec(node.cri, pod.containerId, ["sh", "-c", script], "stdout", "stderr");
      assert.equal(await session.exitCode(), 7);
      assert.equal(await session.stream("stdout").text(), "out\n");
      assert.equal(await session.stream("stderr").text(), "err\n");
    });

    test(`an exec that prints ${megabytes} MB leaves the server as small as it was`, async (t) => {
      const before = await residentBytes(node.server.pid);
      const command = ["dd", "if=/dev/zero", "bs=1M", `count=${megabytes}`];
      await using session = await exec(node.cri, pod.containerId, command, "stdout");
      let bytes = 0;
      let peak = 0;
      let next = 0;
      const looks: Promise<void>[] = [];
      const started = performance.now();
      session.stream("stdout").listen((data) => {
        bytes += data.length;
        if (bytes < next) return;
        next += 50 * MiB;
        looks.push(
          residentBytes(node.server.pid).then((now) => {
            peak = Math.max(peak, now);
          }),
        );
      });
      assert.equal(await session.exitCode(), 0);
      const seconds = (performance.now() - started) / 1000;
      await Promise.all(looks);
      assert.equal(bytes, megabytes * MiB);
      t.diagnostic(`${Math.round(megabytes / seconds)} MB/s, ${Math.round((peak - before) / MiB)} MiB more`);
      assert.ok(peak - before < 64 * MiB, `${peak - before} bytes more`);
    });

    test("what a killed client leaves is killed, and nothing is held for it", async () => {
      const command = ["sh", "-c", "echo up; exec sleep 91000"];
      const session = await exec(node.cri, pod.containerId, command, "stdout");
      await new Promise<void>((resolve) => session.stream("stdout").listen(() => resolve()));
      await settles(async () => assert.equal(await commands("sleep 91000"), 1));
      session.client.destroy();
      await settles(async () => assert.equal(await commands("sleep 91000"), 0));
    });

    test("an attached client ends the input that was open for one client", async () => {
      const change = {
        command: ["sh", "-c", "read line; echo got $line; cat; echo end"],
        stdin: true,
        stdinOnce: true,
      };
      const { podSandboxId, containerId } = await runPod(node.cri, "attached", change);
      const asked = { containerId, stdin: true, stdout: true, stderr: true };
      await using session = await SpdySession.open(
        await streamUrl(node.cri, "Attach", asked),
        ...(["stdin", "stdout", "stderr"] as const),
      );
      await session.stream("stdin").write("one\ntwo\n");
      session.stream("stdin").end();
      assert.equal(await session.stream("stdout").text(), "got one\ntwo\nend\n");
      assert.equal(await session.exitCode(), 0);
      await removePod(node.cri, podSandboxId);
    });

    test("forwarded connections reach the pod's own network, side by side", async () => {
      const command = ["sh", "-c", "while :; do echo hello | nc -l -p 8080; done"];
      const { podSandboxId, containerId } = await runPod(node.cri, "forwarded", { command });
      await settles(async () => {
        const cmd = ["cat", "/proc/net/tcp", "/proc/net/tcp6"];
        const { stdout } = await node.cri.call("ExecSync", { containerId, cmd, timeout: "10" });
        assert.match(stdout.toString(), /:1F90 /);
      });
      const url = await streamUrl(node.cri, "PortForward", { podSandboxId });
      await using client = await SpdyClient.connect(url, ["portforward.k8s.io"]);
      const open = async (port: string, requestid: string) => {
        const error = await client.open({ streamtype: "error", port, requestid });
        return { error, data: await client.open({ streamtype: "data", port, requestid }) };
      };
      const [served, refused] = [await open("8080", "0"), await open("9", "1")];
      served.data.end();
      assert.equal(await served.data.text(), "hello\n");
      assert.match(await refused.error.text(), /port 9: /);
      await removePod(node.cri, podSandboxId);
    });

    test("a server that stops tells its clients, and what they ran is killed", async () => {
      await using session = await exec(node.cri, pod.containerId, ["sleep", "92000"], "stdin", "stdout");
      await settles(async () => assert.equal(await commands("sleep 92000"), 1));
      await node.server.stop();
      assert.match(await session.error.text(), /the runtime is stopping/);
      await settles(async () => assert.equal(await commands("sleep 92000"), 0));
      await node.server.restart();
      await using again = await exec(node.cri, pod.containerId, ["echo", "again"], "stdout");
      assert.equal(await again.stream("stdout").text(), "again\n");
    });

    test("nothing is left behind", async () => {
      await removePod(node.cri, pod.podSandboxId);
      await node.assertCleanEnd();
    });
  });
}

/** How many processes of containers have this command line; all that run are seen here. */
async function commands(line: string): Promise<number> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "latin1").catch(() => "")));
  return lines.filter((one) => one.replaceAll("\0", " ").trim() === line).length;
}

async function residentBytes(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1]) * 1024;
}

/** What others do after the last answer (a process being reaped) has no event here: it is looked at until a deadline. */
async function settles(holds: () => Promise<void>): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (true) {
    try {
      await holds();
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
  }
}

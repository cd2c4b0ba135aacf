import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import test, { after, before, describe } from "node:test";
import { env } from "../harness/cri-configs.ts";
import { processes } from "../recovery/processes.ts";
import { AttackNode } from "./attack-node.ts";

/** What an exec may answer: a kubelet takes 16 MiB, and the rest of the message needs room. */
const mostOutputBytes = 16 << 20;
/** The server's memory may grow by what it answers, twice, and not by what was written. */
const mostGrowthBytes = 80 << 20;

describe("a process in a container", () => {
  const owned = new AsyncDisposableStack();
  let node: AttackNode;

  before(async () => {
    node = owned.use(await AttackNode.start());
  });
  after(() => owned.disposeAsync());

  test("cannot write to the binary that holds every shared PID namespace (as CVE-2019-5736)", async () => {
    const binary = join(node.server.paths.root, "pause/pause");
    const before = await hashOf(binary);
    const pod = await node.pod({ pid: "POD" });
    const id = await node.run(pod, "plain", {}, { pid: "POD" });
    assert.match(await node.shell(id, "tr '\\0' ' ' </proc/1/cmdline"), /pause/);
    const answer = await node.shell(id, "echo evil >/proc/1/exe; exec 3</proc/1/exe && echo evil >/proc/self/fd/3");
    // "Text file busy" would mean that only its running protects it.
    assert.match(answer, /Read-only file system/);
    assert.doesNotMatch(answer, /busy/);
    assert.equal(await hashOf(binary), before);
  });

  test("has no descriptor but its three, started or executed (as CVE-2024-21626)", async () => {
    const id = await node.run(await node.pod(), "plain", { command: ["sleep", "1000"] });
    const list = async (pid: string) =>
      await node.shell(id, `for fd in /proc/${pid}/fd/*; do readlink -n $fd; echo " $fd"; done`);
    const first = await list("1");
    assert.deepEqual(
      [...first.matchAll(/fd\/(\d+)$/gm)].map(([, fd]) => fd),
      ["0", "1", "2"],
      first,
    );
    const own = await list("$$");
    assert.match(own, /fd\/2$/m);
    // A link to nothing was the shell's own while it made the list.
    for (const link of own.split("\n").filter((line) => !/^( |$)/.test(line)))
      assert.match(link, /^(pipe:|\/dev\/null )/, own);
  });

  test("that floods an exec's output gets a bounded answer, and the server stays small (as CVE-2022-31030)", async () => {
    const id = await node.run(await node.pod(), "plain");
    await node.shell(id, "true");
    const before = await residentBytes(node.server.pid);
    const flood = "head -c 300000000 /dev/zero & head -c 300000000 /dev/zero >&2; wait";
    const { stdout, stderr, exitCode } = await node.cri.call("ExecSync", { containerId: id, cmd: ["sh", "-c", flood] });
    assert.equal(exitCode, 0);
    assert.ok(stdout.length + stderr.length <= mostOutputBytes, `${stdout.length} + ${stderr.length} bytes`);
    assert.match(stderr.subarray(-200).toString(), /bytes of output dropped/);
    const grown = (await residentBytes(node.server.pid)) - before;
    assert.ok(grown < mostGrowthBytes, `the server grew by ${grown} bytes`);
  });

  test("gets the variables of its own request and of no other of the same image (as CVE-2021-21334)", async () => {
    const pod = await node.pod();
    const first = { metadata: { name: "first" }, envs: [env("SECRET", "one")] };
    const a = await node.run(pod, "plain", first);
    const b = await node.run(pod, "plain", { metadata: { name: "second" }, envs: [env("OTHER", "two")] });
    assert.match(await node.shell(a, "env"), /SECRET=one/);
    const text = await node.shell(b, "env; tr '\\0' '\\n' </proc/1/environ");
    assert.match(text, /OTHER=two/);
    assert.doesNotMatch(text, /SECRET/);
  });

  test("cannot get a user into its passwd by a line feed in HOME (as CVE-2022-4318, CVE-2026-15809)", async () => {
    const home = "/root\nevil:x:0:0::/:/bin/sh";
    const id = await node.run(
      await node.pod(),
      "plain",
      { envs: [env("HOME", home)] },
      {
        securityContext: { runAsUser: { value: "1234" } },
      },
    );
    assert.doesNotMatch(await node.shell(id, "cat /etc/passwd"), /evil/);
  });

  test("cannot have its monitor killed for its memory: that is in no cgroup of a pod (as CVE-2019-14891)", async () => {
    const pod = await node.pod({ cgroupParent: "/nacelle-conformance/guarded" });
    await node.run(pod, "plain");
    const monitors = await processes("nacelle-monitor");
    assert.ok(monitors.length > 0);
    for (const pid of monitors) {
      const memory = /^\d+:(?:memory|):(.*)$/m.exec(await readFile(`/proc/${pid}/cgroup`, "utf8"))?.[1];
      assert.match(memory ?? "", /\/monitors$/);
    }
  });
});

async function hashOf(path: string): Promise<string> {
  return createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
}

async function residentBytes(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+)/m.exec(text)?.[1]) * 1024;
}

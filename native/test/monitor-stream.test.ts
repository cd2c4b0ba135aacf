import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { after, describe, test } from "node:test";
import { patience } from "../../conformance/harness/patience.ts";
import { MonitorError } from "../../src/monitor/monitor-error.ts";
import {
  collect,
  exec,
  execRequest,
  hears,
  Node,
  noMoreOpen,
  openFds,
  remove,
  run,
  script,
  streamRequest,
} from "./monitor-fixture.ts";
import { gone } from "./processes.ts";

const node = new Node();
after(() => node[Symbol.asyncDispose]());

for (const runtime of ["crun", "runc"]) {
  describe(`a streaming exec with ${runtime}`, () => {
    test("carries input, output by stream, end of input and exit code", async () => {
      using s = await node.sandbox();
      const b = await run(s, runtime, "c1", ["sleep", "1000"]);
      using session = await exec(s, b, ["sh", "-c", "echo err >&2; cat; exit 3"]);
      await session.write(Buffer.from("in and out"));
      session.endInput();
      assert.deepEqual(await collect(session), { stdout: "in and out", stderr: "err\n", lost: 0 });
      assert.deepEqual(await session.ended, { outcome: "exited", status: 3 });
      using killed = await exec(s, b, ["sh", "-c", "kill -TERM $$"], { stdin: false });
      assert.deepEqual(await collect(killed), { stdout: "", stderr: "", lost: 0 });
      assert.deepEqual(await killed.ended, { outcome: "signaled", status: 15 });
      await remove(s, b);
    });

    test("gives a terminal, with its size, and sees it change", async () => {
      using s = await node.sandbox();
      const b = await run(s, runtime, "c1", ["sleep", "1000"]);
      const script = "trap 'stty size; exit 4' WINCH; tty; echo ready; while :; do sleep 0.01; done";
      using session = await exec(s, b, ["sh", "-c", script], { terminal: true });
      await hears(session, "ready\r\n");
      session.resize(132, 43);
      assert.deepEqual(await collect(session), { stdout: "43 132\r\n", stderr: "", lost: 0 });
      assert.deepEqual(await session.ended, { outcome: "exited", status: 4 });
      await remove(s, b);
    });

    test("types into a terminal, and ends its input", async () => {
      using s = await node.sandbox();
      const b = await run(s, runtime, "c1", ["sleep", "1000"]);
      using session = await exec(s, b, ["cat"], { terminal: true });
      await session.write(Buffer.from("typed\n"));
      session.endInput();
      assert.deepEqual(await collect(session), { stdout: "typed\r\ntyped\r\n", stderr: "", lost: 0 });
      assert.deepEqual(await session.ended, { outcome: "exited", status: 0 });
      await remove(s, b);
    });

    test("of what does not exist is refused, and costs nothing, however often", {
      timeout: patience(120_000),
    }, async () => {
      using s = await node.sandbox();
      const b = await run(s, runtime, "c1", ["sleep", "1000"]);
      await s.monitor.snapshot();
      const before = openFds(s);
      for (let i = 0; i < 20; i++)
        for (const terminal of [false, true])
          await assert.rejects(exec(s, b, ["/nonexistent"], { terminal }), (error) => {
            assert.ok(error instanceof MonitorError);
            assert.equal(error.monitorCode, "RUNTIME_FAILED");
            assert.match(error.what, /nonexistent/);
            return true;
          });
      await noMoreOpen(s, before);
      assert.deepEqual(
        readdirSync(s.place.dir).filter((f) => f.startsWith(".")),
        [],
      );
      await remove(s, b);
    });
  });
}

test("a process that nobody reads is slowed, and then nothing of it is missing", {
  timeout: patience(60_000),
}, async () => {
  using s = await node.sandbox();
  const b = await run(s, "crun", "c1", ["sleep", "1000"]);
  using session = await exec(s, b, ["sh", "-c", "yes marker91010 | head -c 50000000; exit 5"], { stdin: false });
  let bytes = 0;
  for await (const output of session.output) {
    if ("data" in output) bytes += output.data.length;
    break;
  }
  for (let i = 0; i < 300; i++) await s.monitor.snapshot();
  const waits = readdirSync("/proc").some((pid) => commandLine(pid).includes("marker91010"));
  assert.ok(waits, "it has ended although nobody reads it");
  for await (const output of session.output) if ("data" in output) bytes += output.data.length;
  assert.equal(bytes, 50_000_000);
  assert.deepEqual(await session.ended, { outcome: "exited", status: 5 });
  await remove(s, b);
});

test("of what a process says before its runtime has written its pid nothing is missing", async () => {
  using s = await node.sandbox();
  const b = await run(s, "crun", "c1", ["sleep", "1000"]);
  // The pid is written once the process has said all, which it must not get to, or after some hundred looks.
  const wait = "i=0; while [ $i -lt 300 ] && kill -0 $(cat $1.early) 2>/dev/null; do i=$((i+1)); /bin/true; done";
  const runtime = script(s.place, "early", `(head -c 4000000 /dev/zero & echo $! >$1.early); ${wait}; mv $1.early $1`);
  using session = await exec(s, b, [], { argv: [runtime, "@pid-file"], stdin: false });
  let bytes = 0;
  for await (const output of session.output) if ("data" in output) bytes += output.data.length;
  assert.equal(bytes, 4_000_000);
  assert.deepEqual(await session.ended, { outcome: "exited", status: 0 });
  await remove(s, b);
});

test("input that a process does not read is not taken from the client, and nothing else waits", async () => {
  using s = await node.sandbox();
  const b = await run(s, "crun", "c1", ["sleep", "1000"]);
  const script = "trap 'wc -c; exit' USR1; echo $$; while :; do sleep 0.01; done";
  using session = await exec(s, b, ["sh", "-c", script]);
  let written = 0;
  const piece = Buffer.alloc(1 << 20, "x");
  const writing = (async () => {
    for (; written < 20; written++) await session.write(piece);
    session.endInput();
  })();
  for (let i = 0; i < 300; i++) await s.monitor.snapshot();
  assert.ok(written < 5, `${written} MiB were taken for a process that reads nothing`);
  let pid = "";
  for await (const output of session.output) {
    if ("data" in output) pid = output.data.toString().trim();
    break;
  }
  await s.monitor.execSync("c1", execRequest(b, ["kill", "-USR1", pid]));
  assert.equal((await collect(session)).stdout.trim(), String(20 << 20));
  await writing;
  await remove(s, b);
});

for (const terminal of [false, true])
  test(`when the connection ends the process is killed, ${terminal ? "with" : "without"} a terminal`, async () => {
    using s = await node.sandbox();
    const b = await run(s, "crun", "c1", ["sleep", "1000"]);
    const marker = terminal ? "91011" : "91012";
    const session = await exec(s, b, ["sh", "-c", `sleep ${marker} & echo up; sleep ${marker}`], { terminal });
    await hears(session, "up");
    session[Symbol.dispose]();
    await assert.rejects(session.ended, MonitorError);
    await gone(marker);
    const aborter = new AbortController();
    const opening = s.monitor.exec("c1", streamRequest(b, ["sleep", marker], { terminal }), aborter.signal);
    aborter.abort(new Error("changed my mind"));
    await assert.rejects(opening, /changed my mind/);
    await gone(marker);
    await remove(s, b);
  });

test("a background child that holds the streams does not hold the end", { timeout: patience(30_000) }, async () => {
  using s = await node.sandbox();
  const b = await run(s, "crun", "c1", ["sleep", "1000"]);
  for (const terminal of [false, true]) {
    using silent = await exec(s, b, ["sh", "-c", "trap '' HUP; sleep 500 & echo done; exit 6"], { terminal });
    assert.match((await collect(silent)).stdout, /^done/);
    assert.deepEqual(await silent.ended, { outcome: "exited", status: 6 });
  }
  await remove(s, b);
});

test("streams that are not asked for are read and thrown away", async () => {
  using s = await node.sandbox();
  const b = await run(s, "crun", "c1", ["sleep", "1000"]);
  const command = ["sh", "-c", "yes | head -c 3000000 >&2; echo out; cat"];
  using session = await exec(s, b, command, { stdin: false, stderr: false });
  assert.deepEqual(await collect(session), { stdout: "out\n", stderr: "", lost: 0 });
  await remove(s, b);
});

test("more sessions than a monitor has room for are refused, and commands without streams go on", async () => {
  using s = await node.sandbox();
  const b = await run(s, "crun", "c1", ["sleep", "1000"]);
  const before = openFds(s);
  const never = new AbortController().signal;
  const attach = () => s.monitor.attach("c1", { stdin: false, stdout: true, stderr: true }, never);
  const sessions = await Promise.all(Array.from({ length: 96 }, attach));
  for (const refused of [
    attach(),
    exec(s, b, ["true"]),
    s.monitor.dial({ netns: "", port: 1, deadlineMs: 1000 }, never),
  ])
    await assert.rejects(refused, (error) => error instanceof MonitorError && error.monitorCode === "LIMIT");
  assert.equal((await s.monitor.execSync("c1", execRequest(b, ["true"]))).status, 0);
  for (const session of sessions) session[Symbol.dispose]();
  await noMoreOpen(s, before);
  await remove(s, b);
});

function commandLine(pid: string): string {
  try {
    return /^\d+$/.test(pid) ? readFileSync(`/proc/${pid}/cmdline`, "latin1") : "";
  } catch {
    return ""; // it has ended meanwhile
  }
}

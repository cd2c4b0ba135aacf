import assert from "node:assert/strict";
import {
  closeSync,
  constants,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  writeFileSync,
} from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { patience } from "../../conformance/harness/patience.ts";
import { until } from "../../conformance/harness/until.ts";
import { encodeFrame, FrameReader, REPLY } from "../../src/lib/wire.ts";
import { MonitorConnection, nextSeq } from "../../src/monitor/connection.ts";
import { MonitorError } from "../../src/monitor/monitor-error.ts";
import { encodeExec, encodeHello, MESSAGE } from "../../src/monitor/protocol.ts";
import {
  bundle,
  createRequest,
  execRequest,
  Node,
  noMoreOpen,
  openFds,
  remove,
  run,
  script,
  startCall,
} from "./monitor-fixture.ts";
import { gone, inState, processesWith, processState, reaped } from "./processes.ts";

const node = new Node();
after(() => node[Symbol.asyncDispose]());

for (const runtime of ["crun", "runc"]) {
  describe(`exec with ${runtime}`, () => {
    test("output by stream, exit code, signal", async () => {
      using s = await node.sandbox();
      const b = await run(s, runtime, "c1", ["sleep", "1000"]);
      const exited = await s.monitor.execSync("c1", execRequest(b, ["sh", "-c", "echo out; echo err >&2; exit 3"]));
      assert.deepEqual([exited.outcome, exited.status, exited.droppedBytes], ["exited", 3, 0]);
      assert.deepEqual([exited.stdout.toString(), exited.stderr.toString()], ["out\n", "err\n"]);
      const signaled = await s.monitor.execSync("c1", execRequest(b, ["sh", "-c", "kill -TERM $$"]));
      assert.deepEqual([signaled.outcome, signaled.status], ["signaled", 15]);
      await remove(s, b);
    });

    test("a command that does not exist is the runtime's failure, not an exit code", async () => {
      using s = await node.sandbox();
      const b = await run(s, runtime, "c1", ["sleep", "1000"]);
      await assert.rejects(s.monitor.execSync("c1", execRequest(b, ["/nonexistent"])), (error) => {
        assert.ok(error instanceof MonitorError);
        assert.equal(error.monitorCode, "RUNTIME_FAILED");
        assert.match(error.what, /nonexistent/);
        return true;
      });
      await remove(s, b);
    });

    test("a timeout kills the process, its children and its session", { timeout: patience(30_000) }, async () => {
      using s = await node.sandbox();
      const b = await run(s, runtime, "c1", ["sleep", "1000"]);
      const command = "sleep 91001 & sh -c 'sleep 91001' & setsid sleep 91001 & echo before; sleep 91001";
      const result = await s.monitor.execSync("c1", execRequest(b, ["sh", "-c", command], { timeoutMs: 300 }));
      assert.deepEqual([result.outcome, result.stdout.toString()], ["timedOut", "before\n"]);
      await gone("91001");
      await remove(s, b);
    });
  });
}

test("a background child that holds the pipes does not hold the result", { timeout: patience(30_000) }, async () => {
  using s = await node.sandbox();
  const b = await run(s, "crun", "c1", ["sleep", "1000"]);
  const silent = await s.monitor.execSync("c1", execRequest(b, ["sh", "-c", "sleep 500 & echo done"]));
  assert.deepEqual([silent.outcome, silent.stdout.toString()], ["exited", "done\n"]);
  const loud = await s.monitor.execSync("c1", execRequest(b, ["sh", "-c", "yes & exit 5"]));
  assert.deepEqual([loud.outcome, loud.status], ["exited", 5]);
  await remove(s, b);
});

/** The one process that was started with these arguments, the last of which may go on. */
async function called(...argv: readonly string[]): Promise<number> {
  const text = argv.join("\0");
  await until(`${argv.join(" ")} runs`, () => processesWith(text).length > 0);
  return processesWith(text)[0] ?? 0;
}

/** Until the monitor does not watch the pipe any more that is this process's stdout. */
async function unwatched(monitor: number, pid: number): Promise<void> {
  const link = (path: string) => {
    try {
      return readlinkSync(path);
    } catch {
      return "";
    }
  };
  const pipe = link(`/proc/${pid}/fd/1`);
  await until(`the monitor does not watch what process ${pid} says`, () => {
    const fds = readdirSync(`/proc/${monitor}/fd`).map((fd) => ({ fd, target: link(`/proc/${monitor}/fd/${fd}`) }));
    const end = fds.find(({ target }) => target === pipe)?.fd;
    const polls = fds.filter(({ target }) => target === "anon_inode:[eventpoll]");
    const watched = polls.map(({ fd }) => readFileSync(`/proc/${monitor}/fdinfo/${fd}`, "latin1")).join("");
    return end !== undefined && !new RegExp(`^tfd: +${end} `, "m").test(watched);
  });
}

test("what a command said last does not hold the result when somebody else has taken it", {
  timeout: patience(30_000),
}, async () => {
  using s = await node.sandbox();
  const b = await run(s, "crun", "c1", ["sleep", "1000"]);
  const says = "sleep 91006 & head -c 91006000 /dev/zero & wait";
  const client = createConnection(s.place.socketPath).pause();
  client.write(encodeFrame(MESSAGE.hello, nextSeq(), encodeHello(1n, "data")));
  const request = execRequest(b, ["sh", "-c", says], { maxOutput: 91_006_000 });
  client.write(encodeFrame(MESSAGE.exec, nextSeq(), encodeExec("c1", request)));
  const [writer, holder, shell] = [
    await called("head", "-c", "91006000"),
    await called("sleep", "91006"),
    await called("sh", "-c", "sleep 91006"),
  ];
  // The client takes nothing, so the pipe is full, and is when the command ends.
  await unwatched(s.place.pid, writer);
  await inState(writer, "S");
  process.kill(shell, "SIGKILL");
  await reaped(shell);
  process.kill(writer, "SIGKILL");
  await inState(writer, "Z"); // the container's first process reaps nobody
  const pipe = openSync(`/proc/${holder}/fd/1`, constants.O_RDONLY | constants.O_NONBLOCK);
  let taken = 0;
  assert.throws(() => {
    for (;;) taken += readSync(pipe, Buffer.alloc(65536));
  }, /EAGAIN/);
  assert.ok(taken > 0);
  closeSync(pipe);
  const frames = new FrameReader();
  for await (const chunk of client) if (frames.push(chunk).some(({ type }) => type === (MESSAGE.exec | REPLY))) break;
  process.kill(holder, "SIGKILL");
  await remove(s, b);
});

test("output above the cap is counted, and what is below is whole", { timeout: patience(60_000) }, async () => {
  using s = await node.sandbox();
  const b = await run(s, "crun", "c1", ["sleep", "1000"]);
  const command = ["sh", "-c", "yes | head -c 50000000"];
  const whole = await s.monitor.execSync("c1", execRequest(b, command, { maxOutput: 60_000_000 }));
  assert.deepEqual([whole.stdout.length, whole.droppedBytes], [50_000_000, 0]);
  assert.ok(whole.stdout.equals(Buffer.alloc(50_000_000, "y\n")));
  const cut = await s.monitor.execSync("c1", execRequest(b, command, { maxOutput: 1000 }));
  assert.deepEqual([cut.stdout.length, cut.droppedBytes, cut.status], [1000, 49_999_000, 0]);
  await remove(s, b);
});

test("when the caller stops waiting the process is killed", { timeout: patience(30_000) }, async () => {
  using s = await node.sandbox();
  const b = await run(s, "crun", "c1", ["sleep", "1000"]);
  const aborter = new AbortController();
  const connection = await MonitorConnection.open({
    socketPath: s.place.socketPath,
    epoch: 1n,
    kind: "data",
    onEvent: () => aborter.abort(),
    onClose: () => undefined,
  });
  const payload = encodeExec("c1", execRequest(b, ["sh", "-c", "echo; sleep 91002"]));
  const nothing = (): void => undefined;
  connection.send({ what: "EXEC", type: MESSAGE.exec, seq: nextSeq(), payload, resolve: nothing, reject: nothing });
  await new Promise((resolve) => aborter.signal.addEventListener("abort", resolve));
  connection.close();
  await gone("91002");
  await assert.rejects(s.monitor.execSync("c1", execRequest(b, ["sleep", "91003"]), AbortSignal.abort()));
  await remove(s, b);
});

test("what a command leaves behind is reaped although runtimes are at work", {
  timeout: patience(60_000),
}, async () => {
  using s = await node.sandbox();
  const b = bundle(s.place, "crun", "c1", ["sleep", "1000"]);
  const config = join(b.bundle, "config.json");
  const spec = JSON.parse(readFileSync(config, "utf8"));
  spec.linux.namespaces = spec.linux.namespaces.filter(({ type }: { type: string }) => type !== "pid");
  writeFileSync(config, JSON.stringify(spec));
  await s.monitor.create("c1", createRequest(b));
  await s.monitor.start("c1", startCall(b));
  const { stdout } = await s.monitor.execSync("c1", execRequest(b, ["sh", "-c", "sleep 91004 & echo $!"]));
  const pid = Number(stdout.toString());
  assert.equal(processState(pid)?.parent, s.place.pid);
  const started = join(s.place.dir, "started");
  const runtime = script(s.place, "slow", `echo >${started}; exec sleep 91005`);
  const ends = assert.rejects(s.monitor.runtime("/", { argv: [runtime], env: [], deadlineMs: 60_000 }), /LOST/);
  while (!existsSync(started)) await s.monitor.snapshot();
  process.kill(pid, "SIGKILL");
  await reaped(pid);
  process.kill(s.place.pid, "SIGKILL");
  await ends;
});

test("a thousand execs cost no descriptor, and the container none of them", {
  timeout: patience(120_000),
}, async () => {
  using s = await node.sandbox();
  const b = await run(s, "crun", "c1", ["sleep", "1000"]);
  await s.monitor.snapshot(); // what START used is closed by now
  const before = openFds(s);
  for (let i = 0; i < 125; i++) {
    const results = await Promise.all(
      [0, 1, 2, 3, 4, 5, 6, 7].map((n) => s.monitor.execSync("c1", execRequest(b, ["sh", "-c", `exit ${n}`]))),
    );
    assert.deepEqual(
      results.map((r) => r.status),
      [0, 1, 2, 3, 4, 5, 6, 7],
    );
  }
  await s.monitor.snapshot();
  await noMoreOpen(s, before);
  assert.equal(openFds(s), before);
  assert.deepEqual(
    readdirSync(s.place.dir).filter((f) => f.startsWith(".")),
    [],
  );
  await remove(s, b);
});

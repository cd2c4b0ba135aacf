import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { setImmediate as breathe } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { patience } from "../../conformance/harness/patience.ts";
import { until } from "../../conformance/harness/until.ts";
import { encodeFrame } from "../../src/lib/wire.ts";
import { MonitorConnection, nextSeq } from "../../src/monitor/connection.ts";
import { MonitorError } from "../../src/monitor/monitor-error.ts";
import { encodeCreate, encodeHello, encodeId, encodeStart, MESSAGE } from "../../src/monitor/protocol.ts";
import { parseExitRecord } from "../../src/monitor/record.ts";
import {
  type Bundle,
  bundle,
  createRequest,
  execRequest,
  Node,
  remove,
  run,
  Sandbox,
  script,
  startCall,
} from "./monitor-fixture.ts";
import { processState } from "./processes.ts";

const node = new Node();
after(() => node[Symbol.asyncDispose]());

const ENV = ["PATH=/usr/bin:/bin"];

function failed(code: string, what: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof MonitorError, String(error));
    assert.equal(error.monitorCode, code);
    assert.match(error.what, what);
    return true;
  };
}

/** CREATE with a shell script for a runtime; `$1` is the pid file, `$2` its log. */
function create(s: Sandbox, body: string, deadlineMs = 10_000): Promise<{ pid: number }> {
  const argv = [script(s.place, `runtime-${nextSeq()}`, body), "@pid-file", "@log"];
  const logPath = join(s.place.dir, "log");
  return s.monitor.create("c", { argv, env: ENV, deadlineMs, cwd: "/", logPath, uid: 0, gid: 0, stdin: false });
}

async function none(s: Sandbox): Promise<void> {
  assert.deepEqual(await s.monitor.snapshot(), []);
  assert.deepEqual(
    readdirSync(s.place.dir).filter((f) => f.endsWith(".exit") || f.startsWith(".")),
    [],
  );
}

/** Waits until the monitor has no child at all. */
async function childless(s: Sandbox): Promise<void> {
  const children = `/proc/${s.place.pid}/task/${s.place.pid}/children`;
  await until("the monitor has no child", () => readFileSync(children, "utf8").trim() === "");
}

describe("a runtime that", () => {
  test("is slow delays nothing else", async () => {
    using s = await node.sandbox();
    const slow = create(s, "sleep 1; sleep 1000 & echo $! > $1");
    const [creating] = await s.monitor.snapshot();
    assert.equal(creating?.state, "creating");
    await slow;
    await s.monitor.signal("c", 9);
    await s.exited("c");
  });

  test("hangs is killed at its deadline with all that it started", { timeout: patience(20_000) }, async () => {
    using s = await node.sandbox();
    await assert.rejects(
      create(s, "setsid sleep 1000 & echo before >&2; sleep 1000", 300),
      failed("TIMEOUT", /before/),
    );
    await none(s);
    await childless(s);
  });

  test("says its last words while nobody reads is heard to the end", async () => {
    using s = await node.sandbox();
    // The monitor is stopped until all is written and the runtime has ended: it finds both at once.
    const body = `(until grep -q ' Z ' /proc/$$/stat; do :; done; kill -CONT $PPID) >/dev/null 2>&1 &
      perl -e 'fcntl(STDERR, 1031, 1 << 20)'; kill -STOP $PPID
      head -c 600000 /dev/zero | tr '\\0' x >&2; echo last words >&2; exit 9`;
    await assert.rejects(create(s, body), failed("RUNTIME_FAILED", /last words/));
    await none(s);
  });

  test("writes more than 64 KiB of errors is drained, and the end of them quoted", async () => {
    using s = await node.sandbox();
    const body = "head -c 3000000 /dev/zero | tr '\\0' x >&2; echo last words >&2; echo in the log > $2; exit 9";
    await assert.rejects(create(s, body), (error) => {
      assert.ok(error instanceof MonitorError && error.errno === 9 && error.what.length <= 24 * 1024);
      return failed("RUNTIME_FAILED", /last words/)(error);
    });
    const argv = ["/bin/sh", "-c", "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2"];
    const result = await s.monitor.runtime("/", { argv, env: ENV, deadlineMs: 10_000 });
    assert.deepEqual([result.stdout.length, result.stderr.length, result.truncated], [131_072, 65_536, true]);
    await none(s);
  });

  test("writes no pid file, or garbage, or a stranger's pid, has failed", async () => {
    using s = await node.sandbox();
    const garbage = [
      "true",
      ": > $1",
      "echo x > $1",
      "echo 1 > $1",
      "echo -5 > $1",
      "echo 99999999999 > $1",
      "echo $$ > $1",
    ];
    for (const body of [...garbage, `echo ${process.pid} > $1`, "echo 12 34 > $1"])
      await assert.rejects(create(s, body), failed("RUNTIME_FAILED", /pid file/), body);
    await none(s);
  });

  test("leaves children behind when it fails loses them", { timeout: patience(20_000) }, async () => {
    using s = await node.sandbox();
    await assert.rejects(create(s, "setsid sleep 1000 & sleep 1000 & exit 1"), failed("RUNTIME_FAILED", /^/));
    await assert.rejects(
      create(s, "(setsid sh -c 'sleep 1000 & sleep 1000' &) ; echo 77 > $1"),
      failed("RUNTIME_FAILED", /^/),
    );
    await childless(s);
    await none(s);
  });

  test("exits before the process that it names, or after", async () => {
    using s = await node.sandbox();
    // Its process is this monitor's child, and dead, long before the runtime has said so.
    const { pid } = await create(s, `${orphan("42")}; sleep 0.3`);
    const exit = await s.exited("c");
    assert.deepEqual([exit.pid, exit.siCode, exit.siStatus], [pid, 1, 42]);
  });

  test("daemonises twice still has its process adopted", async () => {
    using s = await node.sandbox();
    const { pid } = await create(s, "(setsid sh -c 'setsid sleep 1000 & echo $! > '$1 )");
    assert.equal(processState(pid)?.parent, s.place.pid);
    await s.monitor.signal("c", 15);
    assert.equal((await s.exited("c")).siStatus, 15);
  });

  test("cannot be started is a failed execve", async () => {
    using s = await node.sandbox();
    const request = { env: ENV, deadlineMs: 1000, cwd: "/", logPath: "", uid: 0, gid: 0, stdin: false };
    await assert.rejects(s.monitor.create("c", { ...request, argv: ["/nonexistent"] }), failed("SYSCALL", /execve/));
    await assert.rejects(s.monitor.create("c", { ...request, argv: ["relative"] }), failed("MALFORMED", /argv/));
    await assert.rejects(s.monitor.create("../x", { ...request, argv: ["/bin/true"] }), failed("MALFORMED", /id/));
    await none(s);
  });

  test("floods during an exec does not keep its deadline from passing", { timeout: patience(20_000) }, async () => {
    using s = await node.sandbox();
    const b = await run(s, "crun", "c1", ["sleep", "1000"]);
    const argv = [script(s.place, "flood", "yes >&2"), "@pid-file"];
    await assert.rejects(
      s.monitor.execSync("c1", { ...execRequest(b, ["true"]), argv, deadlineMs: 300 }),
      failed("TIMEOUT", /y/),
    );
    await remove(s, b);
  });
});

/**
 * Leaves a process with its pid in $1, which ends with this code once the subshell that began it is gone and it is the
 * monitor's: a shell reaps what of its own ends before that. The fifo says so, as its last writer ends.
 */
function orphan(code: string): string {
  const gate = "mkfifo $1.gate; exec 9<>$1.gate 8<$1.gate; rm $1.gate";
  return `(${gate}; sh -c "read none <&8; exit ${code}" 9<&- & echo $! > $1)`;
}

test("two hundred statuses are told apart while runtimes come and go", { timeout: patience(60_000) }, async () => {
  using s = await node.sandbox();
  const path = script(s.place, "runtime", orphan("$2"));
  const request = { env: ENV, deadlineMs: 10_000, cwd: "/", logPath: "", uid: 0, gid: 0, stdin: false };
  for (let round = 0; round < 8; round++) {
    await Promise.all(
      Array.from({ length: 25 }, async (_, i) => {
        const id = `r${round}-${i}`;
        await s.monitor.create(id, { ...request, argv: [path, "@pid-file", String(i)] });
        assert.equal((await s.exited(id)).siStatus, i);
        await s.monitor.ackExit(id);
        await s.monitor.release(id);
      }),
    );
  }
});

test("a request sent again gets the first reply, and one in flight is joined", async () => {
  using s = await node.sandbox();
  const counter = join(s.place.dir, "counter");
  const path = script(s.place, "runtime", `echo x >> ${counter}; sleep 0.3; sleep 1000 & echo $! > $1`);
  const request = {
    argv: [path, "@pid-file"],
    env: ENV,
    deadlineMs: 10_000,
    cwd: "/",
    logPath: "",
    uid: 0,
    gid: 0,
    stdin: false,
  };
  const seq = nextSeq();
  const replies: string[] = [];
  const ask = async (close: boolean): Promise<void> => {
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    const options = { socketPath: s.place.socketPath, epoch: 1n, kind: "control", onEvent: () => undefined } as const;
    const connection = await MonitorConnection.open({ ...options, onClose: () => resolve(Buffer.alloc(0)) });
    connection.send({
      what: "CREATE",
      type: MESSAGE.create,
      seq,
      payload: encodeCreate("c", request),
      resolve,
      reject,
    });
    if (close) connection.close();
    const reply = await promise;
    if (!close) replies.push(reply.toString("hex"));
    connection.close();
  };
  await ask(true);
  await until("the container is known", async () => (await s.monitor.snapshot()).length > 0);
  await ask(false);
  await ask(false);
  assert.equal(replies.length, 2);
  assert.equal(replies[0], replies[1]);
  assert.equal(readFileSync(counter, "utf8"), "x\n");
  await s.monitor.signal("c", 9);
  await s.exited("c");
});

test("a client that reads nothing loses its connection, and nobody else notices", {
  timeout: patience(30_000),
}, async () => {
  using s = await node.sandbox();
  const deaf = createConnection(s.place.socketPath);
  deaf.pause();
  deaf.write(encodeFrame(MESSAGE.hello, 1n, encodeHello(1n, "control")));
  const closed = new Promise((resolve) => deaf.once("close", resolve).once("error", resolve));
  for (let i = 0; i < 200_000 && !deaf.destroyed; i++) {
    if (!deaf.write(encodeFrame(MESSAGE.snapshot, BigInt(i), Buffer.alloc(0)))) {
      if (i % 5000 === 0) assert.deepEqual(await s.monitor.snapshot(), []);
      await breathe();
      if (deaf.writableLength > 500_000) break;
    }
  }
  assert.deepEqual(await s.monitor.snapshot(), []);
  deaf.resume();
  deaf.end();
  await closed;
});

/** Deterministic, so that a failure can be had again. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

test("a request whose fields do not fit is refused, and its connection goes on", async () => {
  using s = await node.sandbox();
  const request = createRequest(bundle(s.place, "crun", "c1", ["true"]), { logPath: `/${"x".repeat(5000)}` });
  const tooLong = failed("MALFORMED", /too long/);
  await assert.rejects(s.monitor.create("c1", request), tooLong);
  await assert.rejects(s.monitor.start("x".repeat(65), { argv: ["/bin/true"], env: [], deadlineMs: 1000 }), tooLong);
  await assert.rejects(s.monitor.signal("x".repeat(65), 9), tooLong);
  await assert.rejects(s.monitor.reopenLog("x".repeat(65)), tooLong);
  await assert.rejects(s.monitor.release("x".repeat(65)), tooLong);
  await assert.rejects(s.monitor.runtime(request.logPath, request), tooLong);
  await none(s);
});

test("mutated frames close their own connection at most", { timeout: patience(60_000) }, async () => {
  using s = await node.sandbox();
  const b = await run(s, "crun", "c1", ["sleep", "1000"]);
  const harmless = createRequest(bundle(s.place, "crun", "c2", ["true"]), {
    argv: ["/bin/false", "@pid-file", "@log"],
  });
  const call = { ...startCall(b), argv: ["/bin/false"] };
  const frames = [
    encodeFrame(MESSAGE.snapshot, 5n, Buffer.alloc(0)),
    encodeFrame(MESSAGE.create, 6n, encodeCreate("c2", harmless)),
    encodeFrame(MESSAGE.start, 7n, encodeStart("c2", call)),
    encodeFrame(MESSAGE.logReopen, 8n, encodeId("c1")),
    encodeFrame(MESSAGE.release, 9n, encodeId("c1")),
  ];
  const next = random(7);
  for (let i = 0; i < 1500; i++) {
    const frame = Buffer.from(frames[Math.floor(next() * frames.length)] ?? Buffer.alloc(0));
    for (let n = 0; n < 4; n++) {
      // Not the type: a mutated one might be SIGNAL or RUNTIME.
      const at = Math.floor(next() * frame.length);
      if (at !== 4 && at !== 5) frame[at] = next() < 0.5 ? Math.floor(next() * 256) : 0xff;
    }
    const socket = createConnection(s.place.socketPath);
    const closed = new Promise((resolve) => socket.on("error", () => undefined).once("close", resolve));
    socket.resume();
    if (next() < 0.9) socket.write(encodeFrame(MESSAGE.hello, 1n, encodeHello(1n, next() < 0.5 ? "control" : "data")));
    socket.end(frame.subarray(0, next() < 0.8 ? frame.length : Math.floor(next() * frame.length)));
    await closed;
  }
  const [container] = await s.monitor.snapshot();
  assert.deepEqual([container?.id, container?.state], ["c1", "running"]);
  await remove(s, b);
});

/** A process that connects as a daemon would and does the life of a container over and over. */
function client(s: Sandbox, b: Bundle): ChildProcess {
  const program = `
    import { Monitor } from ${JSON.stringify(fileURLToPath(new URL("../../src/monitor/monitor.ts", import.meta.url)))};
    const [socketPath, create, start] = [${JSON.stringify(s.place.socketPath)}, ${JSON.stringify(createRequest(b))}, ${JSON.stringify(startCall(b))}];
    const m = await Monitor.connect({ socketPath, epoch: 1n, onExit: () => undefined, onLost: () => process.exit(3) });
    await m.create("c", create); console.log("created");
    await m.start("c", start); console.log("started");
    await m.signal("c", 9); console.log("signalled");
    setInterval(() => undefined, 1000);`;
  const args = ["--input-type=module-typescript", "-e", program];
  return spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
}

test("a daemon killed at any point finds the truth when it is back", { timeout: patience(120_000) }, async () => {
  using s = await node.sandbox();
  for (let i = 0; i < 12; i++) {
    const b = { ...bundle(s.place, "crun", `k${i}`, ["sleep", "1000"]), id: "c" };
    const child = client(s, b);
    const ended = new Promise((resolve) => child.once("exit", resolve));
    let lines = 0;
    child.stdout?.on("data", () => {
      lines += 1;
      if (lines > i % 4) child.kill("SIGKILL");
    });
    while (i % 4 === 3 ? false : (await s.monitor.snapshot()).length === 0);
    if (i % 4 === 0) child.kill("SIGKILL");
    await Promise.race([ended, s.exited("c")]);
    child.kill("SIGKILL");
    await ended;
    let [container] = await s.monitor.snapshot();
    while (container?.state === "creating" || container?.state === "starting") [container] = await s.monitor.snapshot();
    if (container !== undefined && container.state !== "exited") {
      assert.equal(processState(container.pid)?.parent, s.place.pid);
      await s.monitor.signal("c", 9).catch(() => undefined);
    }
    while (container !== undefined && container.state !== "exited") [container] = await s.monitor.snapshot();
    const argv = [b.runtime, "--root", b.root, "delete", "--force", "c"];
    await s.monitor.runtime("/", { argv, env: ENV, deadlineMs: 10_000 });
    if (container !== undefined) await s.monitor.ackExit("c");
    await s.monitor.release("c");
  }
});

test("a monitor that is killed is reported lost, and its record says what it knew", async () => {
  using s = await node.sandbox();
  const b = await run(s, "crun", "c1", ["sleep", "1000"]);
  const pending = s.monitor.runtime("/", { argv: ["/bin/sleep", "100"], env: ENV, deadlineMs: 100_000 });
  process.kill(s.place.pid, "SIGKILL");
  await assert.rejects(pending, failed("LOST", /./));
  assert.equal((await s.lost).monitorCode, "LOST");
  const record = parseExitRecord(readFileSync(join(s.place.dir, "c1.exit")));
  assert.equal(record?.state, "alive");
  process.kill(record.pid, "SIGKILL");
  assert.equal(b.id, "c1");
});

test("signals do nothing to a monitor", async () => {
  using s = await node.sandbox();
  for (const name of ["SIGINT", "SIGHUP", "SIGQUIT", "SIGPIPE", "SIGUSR1", "SIGALRM"] as const)
    process.kill(s.place.pid, name);
  assert.deepEqual(await s.monitor.snapshot(), []);
  const other = await Sandbox.connect(s.place, 1n);
  other.monitor.close();
});

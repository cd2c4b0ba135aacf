import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { encodeFrame, type Frame, FrameReader, WireError } from "../../src/lib/wire.ts";
import * as events from "../../src/monitor/events.ts";
import * as containers from "../../src/monitor/monitored-container.ts";
import * as protocol from "../../src/monitor/protocol.ts";
import * as streams from "../../src/monitor/stream-protocol.ts";

const { EVENT, MESSAGE } = protocol;
const REPLY = 0x8000;

const golden = new Map(
  readFileSync(join(import.meta.dirname, "golden.txt"), "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.split(" "))
    .map(([name = "", hex = ""]) => [name, Buffer.from(hex, "hex")]),
);

function frame(name: string): Frame {
  const [read, ...rest] = new FrameReader().push(golden.get(name) ?? Buffer.alloc(0));
  assert.ok(read !== undefined && rest.length === 0, name);
  return read;
}

const env = ["PATH=/usr/bin:/bin"];
const base = ["/usr/bin/runc", "--root", "/run/r"];
const create: protocol.CreateRequest = {
  argv: [...base, "create", "--pid-file", "@pid-file", "ctr1"],
  env,
  deadlineMs: 60_000,
  cwd: "/run/b",
  logPath: "/var/log/pods/p/c/0.log",
  uid: 1000,
  gid: 1001,
  stdin: true,
};
const extras: protocol.CreateExtras = {
  recordCopy: "/var/lib/nacelle/exits/ctr1",
  log: { soft: 1_048_576, hard: 2_097_152, policy: "rate", rate: 65_536 },
  cgroup: "/sys/fs/cgroup/kubepods/ctr1",
};
const exec: protocol.ExecRequest = {
  argv: [...base, "exec", "--process", "@process", "ctr1"],
  env,
  deadlineMs: 10_000,
  timeoutMs: 2000,
  maxOutput: 16_777_216,
  process: Buffer.from('{"args":["id"]}'),
};
const terminal: protocol.CreateRequest = {
  argv: [...base, "create", "--console-socket", "@console", "ctr1"],
  env,
  deadlineMs: 60_000,
  cwd: "/run/b",
  logPath: "",
  uid: 1000,
  gid: 1001,
  stdin: true,
  stdinOnce: true,
  terminal: true,
};
const execStream: streams.ExecStreamRequest = {
  argv: [...base, "exec", "--process", "@process", "ctr1"],
  env,
  deadlineMs: 10_000,
  stdin: true,
  stdout: true,
  stderr: false,
  terminal: true,
  width: 80,
  height: 24,
  process: Buffer.from('{"args":["sh"]}'),
};
const start = { argv: [...base, "start", "ctr1"], env, deadlineMs: 10_000 };
const remove = { argv: [...base, "delete", "--force", "ctr1"], env, deadlineMs: 5000 };

const ctr1 = {
  id: "ctr1",
  state: "running",
  pid: 100,
  startTime: "5000",
  siCode: 0,
  siStatus: 0,
  createdNs: 1795262400000000001n,
  startedNs: 1795262401000000002n,
  exitedNs: 0n,
  oomKills: 0n,
  logLostBytes: 0n,
  acked: false,
};
const ctr2 = {
  id: "ctr2",
  state: "exited",
  pid: 101,
  startTime: "5001",
  siCode: 2,
  siStatus: 9,
  createdNs: 1795262400000000003n,
  startedNs: 1795262401000000004n,
  exitedNs: 1795262402000000005n,
  oomKills: 1n,
  logLostBytes: 4096n,
  acked: true,
};

const nothing = Buffer.alloc(0);
const requests: readonly [string, number, Buffer][] = [
  ["hello.monitor", MESSAGE.hello, protocol.encodeHello(7n, "control")],
  ["snapshot", MESSAGE.snapshot, nothing],
  ["create", MESSAGE.create, protocol.encodeCreate("ctr1", create)],
  ["create.extras", MESSAGE.create, protocol.encodeCreate("ctr1", { ...create, extras })],
  ["start", MESSAGE.start, protocol.encodeStart("ctr1", start)],
  ["runtime", MESSAGE.runtime, protocol.encodeRuntime("/", remove)],
  ["signal", MESSAGE.signal, protocol.encodeSignal("ctr1", 15)],
  ["exec", MESSAGE.exec, protocol.encodeExec("ctr1", exec)],
  ["exec.owner", MESSAGE.exec, protocol.encodeExec("ctr1", { ...exec, owner: { uid: 100_000, gid: 100_001 } })],
  ["logReopen", MESSAGE.logReopen, protocol.encodeId("ctr1")],
  ["ackExit", MESSAGE.ackExit, protocol.encodeId("ctr2")],
  ["release", MESSAGE.release, protocol.encodeId("ctr2")],
  ["shutdown", MESSAGE.shutdown, nothing],
  ["create.terminal", MESSAGE.create, protocol.encodeCreate("ctr1", terminal)],
  ["execStream", MESSAGE.execStream, streams.encodeExecStream("ctr1", execStream)],
  [
    "execStream.owner",
    MESSAGE.execStream,
    streams.encodeExecStream("ctr1", { ...execStream, owner: { uid: 100_000, gid: 100_001 } }),
  ],
  ["input", MESSAGE.input, streams.encodeInput(Buffer.from("hi\n"))],
  ["resize", MESSAGE.resize, streams.encodeResize(132, 43)],
  ["stdinClose", MESSAGE.stdinClose, nothing],
  ["attach", MESSAGE.attach, streams.encodeAttach("ctr1", { stdin: true, stdout: true, stderr: true })],
  ["netConnect", MESSAGE.netConnect, streams.encodeDial({ netns: "/run/netns/n1", port: 8080, deadlineMs: 10_000 })],
];

const runtimeFailed = { code: "RUNTIME_FAILED", errno: 137, what: "log tail\nstderr tail", path: "" };
const hello = { version: 1, pid: 77, startTime: "5", build: "0.1.0", sandboxId: "sb1", epoch: 7n };
const runtimeResult = {
  outcome: "exited",
  status: 1,
  truncated: false,
  stdout: nothing,
  stderr: Buffer.from("no such container\n"),
};
const received: readonly [string, number, (payload: Buffer) => unknown, unknown][] = [
  ["hello.monitor.reply", MESSAGE.hello | REPLY, protocol.decodeHello, hello],
  ["error.runtime.reply", MESSAGE.create | REPLY, protocol.decodeError, runtimeFailed],
  ["snapshot.reply", MESSAGE.snapshot | REPLY, containers.decodeSnapshot, [ctr1, ctr2]],
  ["create.reply", MESSAGE.create | REPLY, protocol.decodeCreated, { pid: 100, startTime: "5000" }],
  ["start.reply", MESSAGE.start | REPLY, protocol.decodeU64, 1795262401000000002n],
  ["runtime.reply", MESSAGE.runtime | REPLY, protocol.decodeRuntimeResult, runtimeResult],
  ["exec.output", EVENT.execOutput, protocol.decodeExecOutput, { stream: "stderr", data: Buffer.from("hi\n") }],
  ["exec.reply", MESSAGE.exec | REPLY, protocol.decodeExecEnd, { outcome: "timedOut", status: 0, dropped: 12n }],
  ["logReopen.reply", MESSAGE.logReopen | REPLY, protocol.decodeU64, 9007199254740993n],
  [
    "exit.pod",
    EVENT.exit,
    containers.decodeContainer,
    { ...ctr2, acked: false, logLostLines: 7n, ooms: 3n, oomGroupKills: 1n, isOfPod: true },
  ],
  ["oom", EVENT.oom, events.decodeOom, { id: "ctr1", oomKills: 2n }],
  ["health", EVENT.health, events.decodeHealth, { id: "ctr1", trouble: "cannot end", seconds: 10 }],
  ["health.well", EVENT.health, events.decodeHealth, { id: "ctr1", trouble: "well", seconds: 25, of: "log hangs" }],
  ["logLimit", EVENT.logLimit, events.decodeLogLimit, { id: "ctr1", limit: "hard", size: 2_097_152n }],
  ["logError", EVENT.logError, events.decodeLogError, { id: "ctr1", errno: 28 }],
  ["execExit", EVENT.execExit, streams.decodeStreamExit, { outcome: "signaled", status: 15 }],
  ["gap", EVENT.gap, streams.decodeGap, { stream: "stderr", lostBytes: 70_000n }],
  [
    "logRecovered.lines",
    EVENT.logRecovered,
    events.decodeLogRecovered,
    { id: "ctr1", lostBytes: 4096n, lostLines: 41n },
  ],
];

/** Where messages that have grown since version 1 ended then: the lengths at which they are whole, too. */
const oldLengths: Readonly<Record<string, readonly number[]>> = {
  "exit.pod": [frame("exit").payload.length, frame("exit.counts").payload.length],
  "logRecovered.lines": [frame("logRecovered").payload.length],
  "health.well": [frame("health").payload.length],
};

for (const [name, type, payload] of requests)
  test(`the monitor's ${name} request is written as the golden bytes are`, () => {
    assert.deepEqual(encodeFrame(type, frame(name).seq, payload), golden.get(name));
  });

for (const [name, type, decode, value] of received)
  test(`the monitor's ${name} is read as meant, with bytes after it ignored, and refused when cut short`, () => {
    const read = frame(name);
    assert.equal(read.type, type);
    assert.deepEqual(decode(read.payload), value);
    assert.deepEqual(decode(Buffer.concat([read.payload, Buffer.from("later")])), value);
    for (let length = 0; length < read.payload.length; length++)
      if (!oldLengths[name]?.includes(length)) assert.throws(() => decode(read.payload.subarray(0, length)), WireError);
  });

const olds: [string, (payload: Buffer) => unknown, unknown][] = [
  ["exit", containers.decodeContainer, { ...ctr2, acked: false }],
  ["exit.counts", containers.decodeContainer, { ...ctr2, acked: false, logLostLines: 7n, ooms: 3n, oomGroupKills: 1n }],
  ["logRecovered", events.decodeLogRecovered, { id: "ctr1", lostBytes: 4096n }],
];

for (const [name, decode, value] of olds)
  test(`the monitor's ${name} of an earlier version, which ends sooner, is read as meant`, () => {
    assert.deepEqual(decode(frame(name).payload), value);
  });

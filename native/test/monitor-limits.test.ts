/** Logs that reach their limits, by policy. Needs root. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { patience } from "../../conformance/harness/patience.ts";
import { type LogLimits, NO_EXTRAS } from "../../src/monitor/protocol.ts";
import { parseExitRecord } from "../../src/monitor/record.ts";
import {
  type Bundle,
  bundle,
  createRequest,
  execRequest,
  Node,
  parseLog,
  remove,
  type Sandbox,
  startCall,
} from "./monitor-fixture.ts";

const node = new Node();
after(() => node[Symbol.asyncDispose]());

const LINE = 100;
const RECORD = 40 + LINE;
/** One read of the pump, and what its headers add to such lines. */
const ONE_READ = ((256 * 1024) / LINE) * RECORD;

/** A container that prints so many numbered lines each time that it is asked to, or once and ends. */
async function printer(s: Sandbox, limits: Partial<LogLimits>, lines: number, isAsked = false): Promise<Bundle> {
  const file = Array.from({ length: lines }, (_, i) => `${String(i).padStart(LINE - 1, ".")}\n`).join("");
  writeFileSync(join(node.rootfs, "lines"), file);
  const command = isAsked ? "while read n && [ -z $n ]; do cat /lines; done" : "cat /lines";
  const b = bundle(s.place, "crun", "c1", ["sh", "-c", command]);
  const extras = { ...NO_EXTRAS, log: { ...NO_EXTRAS.log, ...limits } };
  await s.monitor.create("c1", createRequest(b, { stdin: isAsked, extras }));
  await s.monitor.start("c1", startCall(b));
  return b;
}

/** Has it print, or end. */
async function ask(s: Sandbox, word = ""): Promise<void> {
  const [container] = await s.monitor.snapshot();
  execFileSync("sh", ["-c", `echo ${word} > /proc/${container?.pid}/fd/0`]);
}

const numbersOf = (path: string): number[] =>
  parseLog(readFileSync(path, "latin1"))
    .stdout.split("\n")
    .slice(0, -1)
    .map((line) => Number(line.replace(/^\.*/, "")));

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

test("beyond the hard limit whole records are dropped, counted, and told once", async () => {
  using s = await node.sandbox();
  const b = await printer(s, { soft: 5_000, hard: 10_000 }, 1_000);
  const exit = await s.exited("c1");
  const kept = Math.floor(10_000 / RECORD);
  assert.deepEqual(numbersOf(b.logPath), upTo(kept));
  assert.equal(statSync(b.logPath).size, kept * RECORD);
  assert.equal(exit.logLostBytes, BigInt((1_000 - kept) * LINE));
  assert.equal(exit.logLostLines, BigInt(1_000 - kept));
  const record = parseExitRecord(readFileSync(join(s.place.dir, "c1.exit")));
  assert.deepEqual([record?.logLostBytes, record?.logLostLines], [exit.logLostBytes, exit.logLostLines]);
  const told = [await s.told(), await s.told()] as { limit: string; size: bigint }[];
  assert.deepEqual(
    told.map(({ limit }) => limit),
    ["soft", "hard"],
  );
  assert.ok(told.every(({ size }) => size >= 5_000n && size <= 10_000n));
  await remove(s, b);
});

test("a limit holds for a file: another one is filled anew, and the same one is not", {
  timeout: patience(60_000),
}, async () => {
  using s = await node.sandbox();
  const b = await printer(s, { hard: 10_000 }, 200, true);
  const kept = Math.floor(10_000 / RECORD);
  const hard = { id: "c1", limit: "hard", size: BigInt(kept * RECORD) };
  await ask(s);
  assert.deepEqual(await s.told(), hard);
  await s.monitor.reopenLog("c1");
  await ask(s);
  renameSync(b.logPath, `${b.logPath}.1`);
  // Not told for the same file again: the next event is that of the next one.
  while ((await s.monitor.snapshot())[0]?.logLostBytes !== BigInt((400 - kept) * LINE));
  await s.monitor.reopenLog("c1");
  await ask(s);
  assert.deepEqual(await s.told(), hard);
  await ask(s, "end");
  const exit = await s.exited("c1");
  assert.deepEqual(numbersOf(`${b.logPath}.1`), upTo(kept));
  assert.deepEqual(numbersOf(b.logPath), upTo(kept));
  assert.equal(exit.logLostLines, BigInt(600 - 2 * kept));
  await remove(s, b);
});

test("a file that was there counts with its size", async () => {
  using s = await node.sandbox();
  const b = bundle(s.place, "crun", "c1", ["echo", "more"]);
  writeFileSync(b.logPath, `${"2026-01-01T00:00:00.000000000Z stdout F before\n".repeat(10)}`);
  const log = { ...NO_EXTRAS.log, soft: 100, hard: 470 };
  await s.monitor.create("c1", createRequest(b, { extras: { ...NO_EXTRAS, log } }));
  await s.monitor.start("c1", startCall(b));
  assert.equal((await s.exited("c1")).logLostBytes, 5n);
  assert.equal(statSync(b.logPath).size, 470);
  assert.deepEqual(await s.told(), { id: "c1", limit: "soft", size: 470n });
  await remove(s, b);
});

test("who prints beyond a limit that blocks waits for the next file, and nothing is lost", {
  timeout: patience(60_000),
}, async () => {
  using s = await node.sandbox();
  const lines = 30_000;
  const hard = 500_000;
  const b = await printer(s, { hard, policy: "block" }, lines, true);
  await ask(s);
  const files: string[] = [];
  // As long as there is enough for one more file.
  for (let left = lines * RECORD; left >= hard; ) {
    await s.told();
    const { size } = statSync(b.logPath);
    assert.ok(size >= hard && size < hard + ONE_READ, `${size} bytes`);
    left -= size;
    files.push(`${b.logPath}.${files.length}`);
    renameSync(b.logPath, files.at(-1) ?? "");
    await s.monitor.reopenLog("c1");
  }
  await ask(s, "end");
  assert.equal((await s.exited("c1")).logLostBytes, 0n);
  assert.ok(files.length >= 4, `${files.length} files`);
  assert.deepEqual([...files, b.logPath].flatMap(numbersOf), upTo(lines));
  await remove(s, b);
});

/** How often the pump has gone to sleep, which is how often it was woken up. */
function wakeUps(s: Sandbox): number {
  const tasks = `/proc/${s.place.pid}/task`;
  const pump = readdirSync(tasks).find((task) => /pump/.test(readFileSync(`${tasks}/${task}/comm`, "utf8")));
  const [, count = "none"] =
    /^voluntary_ctxt_switches:\s+(\d+)/m.exec(readFileSync(`${tasks}/${pump}/status`, "utf8")) ?? [];
  return Number(count);
}

test("a log that is blocked costs nothing, and is told of the next file all the same", {
  timeout: patience(60_000),
}, async () => {
  using s = await node.sandbox();
  const b = await printer(s, { hard: 100_000, policy: "block" }, 10_000);
  await s.told();
  const pass = (seconds: number) => s.monitor.execSync("c1", execRequest(b, ["sleep", String(seconds)]));
  await pass(3); // after which all memory was given back
  const before = wakeUps(s);
  await pass(2);
  assert.equal(wakeUps(s), before);
  renameSync(b.logPath, `${b.logPath}.1`);
  await s.monitor.reopenLog("c1");
  assert.deepEqual(((await s.told()) as { limit: string }).limit, "hard");
  await s.monitor.signal("c1", 9);
  await s.exited("c1");
  await remove(s, b);
});

test("what waits in the pipe of a log that blocks is dropped and counted when the container has ended", async () => {
  using s = await node.sandbox();
  const b = await printer(s, { hard: 2_000, policy: "block" }, 300);
  const exit = await s.exited("c1");
  const kept = numbersOf(b.logPath);
  assert.deepEqual(kept, upTo(kept.length));
  assert.ok(kept.length * RECORD >= 2_000 && kept.length < 300, `${kept.length} lines`);
  assert.equal(exit.logLostBytes, BigInt((300 - kept.length) * LINE));
  assert.equal(exit.logLostLines, BigInt(300 - kept.length));
  await remove(s, b);
});

test("who prints beyond a limit with a rate is slowed down, and nothing is lost", {
  timeout: patience(60_000),
}, async () => {
  using s = await node.sandbox();
  const b = await printer(s, { hard: 10_000, policy: "rate", rate: 100_000 }, 4_000);
  const exit = await s.exited("c1");
  assert.deepEqual(numbersOf(b.logPath), upTo(4_000));
  assert.equal(exit.logLostBytes, 0n);
  // 400,000 bytes, of which one second's 100,000 may be read at once, and at most 128 KiB are in the pipe at the end.
  const ms = Number((exit.exitedNs - exit.startedNs) / 1_000_000n);
  assert.ok(ms >= 1_200, `${ms} ms`);
  assert.deepEqual(((await s.told()) as { limit: string }).limit, "hard");
  await remove(s, b);
});

test("a rate holds until the log is rotated: the next file is filled as fast as it goes", {
  timeout: patience(60_000),
}, async () => {
  using s = await node.sandbox();
  const hard = 50_000;
  // At one byte a second none of these files would become full.
  const b = await printer(s, { hard, policy: "rate", rate: 1 }, 3_000, true);
  await ask(s);
  const files: string[] = [];
  for (let left = 3_000 * RECORD; left >= hard; ) {
    assert.equal(((await s.told()) as { limit: string }).limit, "hard");
    files.push(`${b.logPath}.${files.length}`);
    renameSync(b.logPath, files.at(-1) ?? "");
    await s.monitor.reopenLog("c1");
    left -= statSync(files.at(-1) ?? "").size;
  }
  await ask(s, "end");
  assert.equal((await s.exited("c1")).logLostBytes, 0n);
  assert.deepEqual([...files, b.logPath].flatMap(numbersOf), upTo(3_000));
  await remove(s, b);
});

test("a container beyond its rate wakes the monitor ten times a second, not more", {
  timeout: patience(60_000),
}, async () => {
  using s = await node.sandbox();
  const b = await printer(s, { hard: 10_000, policy: "rate", rate: 10_000 }, 10_000);
  await s.told();
  const begun = performance.now();
  const before = wakeUps(s);
  await s.monitor.execSync("c1", execRequest(b, ["sleep", "3"]));
  const count = wakeUps(s) - before;
  const seconds = (performance.now() - begun) / 1000;
  // Once a second memory is looked at, and tails are; the others are for the log.
  assert.ok(count <= 12 * seconds + 3, `${count} in ${seconds} s`);
  await s.monitor.signal("c1", 9);
  await s.exited("c1");
  await remove(s, b);
});

test("a terminal is held back as pipes are", { timeout: patience(60_000) }, async () => {
  using s = await node.sandbox();
  const lines = 5_000;
  writeFileSync(
    join(node.rootfs, "lines"),
    upTo(lines)
      .map((i) => `${i}\n`)
      .join(""),
  );
  const b = bundle(s.place, "crun", "c1", ["sh", "-c", "cat /lines; read n"], { terminal: true });
  const hard = 50_000;
  const log = { ...NO_EXTRAS.log, hard, policy: "block" } as const;
  await s.monitor.create("c1", createRequest(b, { terminal: true, stdin: true, extras: { ...NO_EXTRAS, log } }));
  await s.monitor.start("c1", startCall(b));
  const files: string[] = [];
  const size = upTo(lines).reduce((sum, i) => sum + 40 + String(i).length + 2, 0);
  for (let left = size; left >= hard; ) {
    await s.told();
    left -= statSync(b.logPath).size;
    files.push(`${b.logPath}.${files.length}`);
    renameSync(b.logPath, files.at(-1) ?? "");
    await s.monitor.reopenLog("c1");
  }
  const input = { stdin: true, stdout: false, stderr: false };
  using session = await s.monitor.attach("c1", input, new AbortController().signal);
  await session.write(Buffer.from("end\n"));
  assert.equal((await s.exited("c1")).logLostBytes, 0n);
  assert.deepEqual([...files, b.logPath].flatMap(numbersOf).slice(0, lines), upTo(lines));
  assert.ok(files.length >= 3);
  await remove(s, b);
});

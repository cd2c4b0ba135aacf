import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { patience } from "../../conformance/harness/patience.ts";
import { MonitorError } from "../../src/monitor/monitor-error.ts";
import { parseExitRecord } from "../../src/monitor/record.ts";
import { Disk, held, holding, tasks, timedOut } from "./frozen-disk.ts";
import {
  bundle,
  createRequest,
  execRequest,
  Node,
  parseLog,
  remove,
  run,
  script,
  startCall,
} from "./monitor-fixture.ts";
import { reaped } from "./processes.ts";

const node = new Node();
after(() => node[Symbol.asyncDispose]());

test("a dead disk under a log holds up no exit, no exec, no signal and no answer, and gets every byte when it is back", {
  timeout: patience(60_000),
}, async () => {
  using s = await node.sandbox();
  const disk = new Disk(s);
  const logPath = join(disk.dir, "0.log");
  const lines = "i=0; while [ $i -lt 1000 ]; do echo line $i of what is said while nobody writes it; i=$((i+1)); done";
  const talks = ["sh", "-c", `trap '${lines}; exit 7' TERM; echo begins; while :; do sleep 0.01; done`];
  const b = bundle(s.place, "crun", "c1", talks);
  const other = await run(s, "crun", "c2", ["sleep", "1000"], {}, { logPath: join(disk.dir, "1.log") });
  await s.monitor.create("c1", createRequest(b, { logPath }));
  await s.monitor.start("c1", startCall(b));
  while (!readFileSync(logPath, "utf8").includes("begins")) await s.monitor.snapshot();
  disk.freeze();
  await s.monitor.signal("c1", 15);
  await held(s);
  const reopened = s.monitor.reopenLog("c2").catch((error: unknown) => error);
  assert.equal((await s.exited("c1")).siStatus, 7);
  const record = parseExitRecord(readFileSync(join(s.place.dir, "c1.exit")));
  assert.deepEqual([record?.state, record?.siStatus], ["exited", 7]);
  assert.equal((await s.monitor.execSync("c2", execRequest(other, ["sh", "-c", "exit 5"]))).status, 5);
  const states = Object.fromEntries((await s.monitor.snapshot()).map(({ id, state }) => [id, state]));
  assert.deepEqual(states, { c1: "exited", c2: "running" });
  const late = bundle(s.place, "crun", "c3", ["true"]);
  const latePath = join(disk.dir, "3.log");
  const create = createRequest(late, { logPath: latePath, deadlineMs: 100 });
  await assert.rejects(s.monitor.create("c3", create), timedOut(latePath));
  const elsewhere = await node.sandbox();
  using t = elsewhere;
  const quick = await run(t, "crun", "c1", ["sh", "-c", "echo all is well; exit 3"]);
  assert.equal((await t.exited("c1")).siStatus, 3);
  assert.equal(parseLog(readFileSync(quick.logPath, "utf8")).stdout, "all is well\n");
  await remove(t, quick);
  assert.ok(timedOut(join(disk.dir, "1.log"))(await reopened), String(await reopened));
  await assert.rejects(s.monitor.reopenLog("c2"), timedOut(join(disk.dir, "1.log")));
  await s.monitor.signal("c2", 9);
  assert.equal((await s.exited("c2")).siStatus, 9);
  assert.partialDeepStrictEqual(await s.told(), { id: "c1", trouble: "log hangs" });
  disk.thaw();
  assert.partialDeepStrictEqual(await s.told(), { id: "c1", trouble: "well" });
  const expected = `begins\n${Array.from({ length: 1000 }, (_, i) => `line ${i} of what is said while nobody writes it\n`).join("")}`;
  while (!readFileSync(logPath, "utf8").includes("line 999 of")) await s.monitor.snapshot();
  assert.equal(parseLog(readFileSync(logPath, "utf8")).stdout, expected);
  await remove(s, b);
  await remove(s, other);
});

test("what waits for a dead disk is answered at its deadline, can be cut short, and is done later when it is asked again", {
  timeout: patience(60_000),
}, async () => {
  using s = await node.sandbox();
  const disk = new Disk(s);
  const waits = bundle(s.place, "crun", "waits", ["sh", "-c", "echo late; exit 4"]);
  const logPath = join(disk.dir, "waits.log");
  await s.monitor.create("waits", createRequest(waits, { logPath }));
  const talks = await holding(s, disk);
  await assert.rejects(s.monitor.start("waits", { ...startCall(waits), deadlineMs: 100 }), timedOut(logPath));
  const killed = bundle(s.place, "crun", "killed", ["true"]);
  const create = s.monitor.create("killed", createRequest(killed, { logPath: join(disk.dir, "killed.log") }));
  const refused = assert.rejects(create, (error) => error instanceof MonitorError && error.monitorCode === "TIMEOUT");
  await s.monitor.signal("killed", 9);
  await refused;
  const states = Object.fromEntries((await s.monitor.snapshot()).map(({ id, state }) => [id, state]));
  assert.deepEqual(states, { talks: "running", waits: "created" });
  const start = s.monitor.start("waits", startCall(waits));
  disk.thaw();
  await start;
  assert.equal((await s.exited("waits")).siStatus, 4);
  assert.equal(parseLog(readFileSync(logPath, "utf8")).stdout, "late\n");
  assert.deepEqual(
    readdirSync(disk.dir).sort((a, b) => a.localeCompare(b)),
    ["lost+found", "talks.log", "waits.log"],
  );
  await remove(s, waits);
  await remove(s, talks);
});

test("a container that has ended before its runtime returns has begun before it ended, however long its log takes", {
  timeout: patience(60_000),
}, async () => {
  using s = await node.sandbox();
  const disk = new Disk(s);
  const b = bundle(s.place, "crun", "c1", ["sh", "-c", "echo word; exit 6"]);
  const { pid } = await s.monitor.create("c1", createRequest(b, { logPath: join(disk.dir, "0.log") }));
  const slow = script(s.place, "slow", `fsfreeze --freeze ${disk.dir}; "$@"; while [ -e /proc/${pid} ]; do :; done`);
  const call = startCall(b);
  await s.monitor.start("c1", { ...call, argv: [slow, ...call.argv] });
  const exit = await s.exited("c1");
  disk.thaw();
  assert.equal(exit.siStatus, 6);
  assert.ok(exit.createdNs <= exit.startedNs && exit.startedNs <= exit.exitedNs);
  await remove(s, b);
});

test("a sandbox can be given up while a disk holds its logs, and its monitor ends with the disk's return", {
  timeout: patience(60_000),
}, async () => {
  using s = await node.sandbox();
  const disk = new Disk(s);
  const talks = await holding(s, disk);
  const other = createConnection(s.place.socketPath).on("error", () => undefined);
  const left = once(other.resume(), "close");
  await remove(s, talks);
  assert.deepEqual(await s.monitor.snapshot(), []);
  await s.monitor.shutdown();
  await left;
  assert.ok(tasks(s).some(({ state }) => state === "D"));
  disk.thaw();
  await reaped(s.place.pid);
});

test("a monitor that is sent SIGTERM leaves when nothing lives, whatever a disk holds", {
  timeout: patience(60_000),
}, async () => {
  using s = await node.sandbox();
  const disk = new Disk(s);
  const talks = await holding(s, disk);
  process.kill(s.place.pid, "SIGTERM");
  await s.monitor.signal(talks.id, 9);
  await s.lost;
  const record = parseExitRecord(readFileSync(join(s.place.dir, "talks.exit")));
  assert.deepEqual([record?.state, record?.siStatus], ["exited", 9]);
  disk.thaw();
  await reaped(s.place.pid);
  execFileSync(talks.runtime, ["--root", talks.root, "delete", "--force", talks.id]);
});

const skip = (process.env.NACELLE_NATIVE ?? "").includes("asan") && "a sanitizer's run time asks for more";

test("the thread that writes logs may not do more than that, and nobody inherits this", { skip }, async () => {
  using s = await node.sandbox();
  const b = await run(s, "crun", "c1", ["sleep", "1000"]);
  const seccomp = (path: string) => /^Seccomp:\s+(\d)/m.exec(readFileSync(path, "utf8"))?.[1];
  const filters = tasks(s).map(({ name, tid }) => [name, seccomp(`/proc/${s.place.pid}/task/${tid}/status`)]);
  assert.deepEqual(Object.fromEntries(filters), { "nacelle-monitor": "0", "nacelle-pump": "2" });
  const [container] = await s.monitor.snapshot();
  assert.equal(seccomp(`/proc/${container?.pid}/status`), "0");
  await remove(s, b);
});

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { patience } from "../../conformance/harness/patience.ts";
import { encodeFrame, FrameReader } from "../../src/lib/wire.ts";
import { nextSeq } from "../../src/monitor/connection.ts";
import { EVENT, encodeHello, MESSAGE, NO_EXTRAS } from "../../src/monitor/protocol.ts";
import { parseExitRecord } from "../../src/monitor/record.ts";
import { encodeAttach, encodeInput } from "../../src/monitor/stream-protocol.ts";
import {
  type Bundle,
  bundle,
  createRequest,
  exec,
  hears,
  Node,
  type Place,
  parseLog,
  run,
  type Sandbox,
  script,
  startCall,
} from "./monitor-fixture.ts";
import { inState, processState } from "./processes.ts";

const node = new Node();
after(() => node[Symbol.asyncDispose]());

const timeout = patience(120_000);

/** How the monitor ended, as its parent would be told; that is stopped, so that it does not reap it first. */
async function ended({ pid }: Place): Promise<number | undefined> {
  await inState(pid, "Z");
  return processState(pid)?.waitStatus;
}

/** The launcher reaps nobody until this is over. */
function unreaped(): Disposable {
  process.kill(node.pid, "SIGSTOP");
  return { [Symbol.dispose]: () => void process.kill(node.pid, "SIGCONT") };
}

function deleted(b: Bundle): void {
  execFileSync(b.runtime, ["--root", b.root, "delete", "--force", b.id]);
}

function refused(place: Place): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  createConnection(place.socketPath).on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? ""));
  return promise;
}

const copiedTo = (recordCopy: string) => ({ extras: { ...NO_EXTRAS, recordCopy } });
const recordOf = (path: string) => parseExitRecord(readFileSync(path));
const states = async (s: Sandbox) =>
  Object.fromEntries((await s.monitor.snapshot()).map(({ id, state }) => [id, state]));

describe("a monitor that is sent SIGTERM", () => {
  test("without a container ends at once, with 0, and leaves its socket as a crash would", { timeout }, async () => {
    using s = await node.sandbox();
    const other = await node.place();
    using _ = unreaped();
    process.kill(other.pid, "SIGKILL");
    assert.equal(await ended(other), 9);
    process.kill(s.place.pid, "SIGTERM");
    assert.equal(await ended(s.place), 0);
    assert.ok(existsSync(s.place.socketPath));
    assert.equal(await refused(s.place), "ECONNREFUSED");
  });

  test("lives on while a container runs, was never started or is being created, and ends after the last", {
    timeout,
  }, async () => {
    using s = await node.sandbox();
    const runs = await run(s, "crun", "runs", ["sleep", "1000"]);
    const waits = bundle(s.place, "crun", "waits", ["sleep", "1000"]);
    await s.monitor.create("waits", createRequest(waits));
    process.kill(s.place.pid, "SIGTERM");
    assert.deepEqual(await states(s), { runs: "running", waits: "created" });
    await s.monitor.signal("runs", 9);
    await s.exited("runs");
    process.kill(s.place.pid, "SIGTERM");
    assert.deepEqual(await states(s), { runs: "exited", waits: "created" });
    // It is asked for and answered as before.
    const late = bundle(s.place, "crun", "late", ["sh", "-c", "exit 5"]);
    const go = join(s.place.dir, "go");
    const slow = script(s.place, "slow", `while [ ! -e ${go} ]; do sleep 0.01; done; exec "$@"`);
    const request = createRequest(late);
    const created = s.monitor.create("late", { ...request, argv: [slow, ...request.argv] });
    await s.monitor.signal("waits", 9);
    await s.exited("waits");
    assert.deepEqual(await states(s), { runs: "exited", waits: "exited", late: "creating" });
    writeFileSync(go, "");
    await created;
    using _ = unreaped();
    await s.monitor.start("late", startCall(late)).catch(() => undefined); // its end may overtake the answer
    assert.equal(await ended(s.place), 0);
    assert.equal(recordOf(join(s.place.dir, "late.exit"))?.siStatus, 5);
    assert.equal(recordOf(join(s.place.dir, "runs.exit"))?.siStatus, 9);
    for (const b of [runs, waits, late]) deleted(b);
  });

  test("has written each exit that was not stored a second time, and all that was said", { timeout }, async () => {
    using s = await node.sandbox();
    const says = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done";
    const copies = ["stored", "last"].map((id) => join(s.place.dir, `${id}.copy`));
    const [stored = "", last = ""] = copies;
    const first = await run(s, "crun", "stored", ["true"], {}, copiedTo(stored));
    await s.exited("stored");
    await s.monitor.ackExit("stored");
    const speaks = ["sh", "-c", `read go; ${says}; exit 7`];
    const b = await run(s, "crun", "last", speaks, {}, { ...copiedTo(last), stdin: true });
    const [{ pid } = { pid: 0 }] = (await s.monitor.snapshot()).filter(({ id }) => id === "last");
    using _ = unreaped();
    process.kill(s.place.pid, "SIGTERM");
    writeFileSync(`/proc/${pid}/fd/0`, "\n");
    assert.equal(await ended(s.place), 0);
    assert.equal((await s.exited("last")).siStatus, 7);
    assert.deepEqual(
      copies.map((path) => existsSync(path)),
      [false, true],
    );
    assert.deepEqual(recordOf(last), recordOf(join(s.place.dir, "last.exit")));
    assert.equal(recordOf(last)?.siStatus, 7);
    const expected = Array.from({ length: 20_000 }, (_line, i) => `line ${i}\n`).join("");
    assert.equal(parseLog(readFileSync(b.logPath, "utf8")).stdout, expected);
    for (const one of [first, b]) deleted(one);
  });

  test("ends when who was attached has taken all that was said, however late", { timeout }, async () => {
    using s = await node.sandbox();
    const speaks = ["sh", "-c", "read go; head -c 400000 /dev/zero"];
    const b = await run(s, "crun", "c1", speaks, {}, { stdin: true });
    const client = createConnection(s.place.socketPath).pause();
    client.write(encodeFrame(MESSAGE.hello, nextSeq(), encodeHello(1n, "data")));
    const streams = { stdin: true, stdout: true, stderr: false };
    client.write(encodeFrame(MESSAGE.attach, nextSeq(), encodeAttach("c1", streams)));
    client.write(encodeFrame(MESSAGE.input, nextSeq(), encodeInput(Buffer.from("\n"))));
    process.kill(s.place.pid, "SIGTERM");
    await s.exited("c1");
    assert.deepEqual(await states(s), { c1: "exited" });
    using _ = unreaped();
    const frames = new FrameReader();
    let [said, isOver] = [0, false];
    for await (const chunk of client)
      for (const { type, payload } of frames.push(chunk)) {
        if (type === EVENT.execOutput) said += payload.length - 5;
        isOver ||= type === EVENT.attachEnd;
      }
    assert.deepEqual([said, isOver], [400_000, true]);
    assert.equal(await ended(s.place), 0);
    deleted(b);
  });

  test("lives on while a command does that has outlived its container", { timeout }, async () => {
    using s = await node.sandbox();
    const b = bundle(s.place, "crun", "c1", ["sleep", "1000"]);
    const path = join(b.bundle, "config.json");
    const spec = JSON.parse(readFileSync(path, "utf8"));
    spec.linux.namespaces = spec.linux.namespaces.filter(({ type }: { type: string }) => type !== "pid");
    writeFileSync(path, JSON.stringify(spec));
    await s.monitor.create("c1", createRequest(b));
    await s.monitor.start("c1", startCall(b));
    const session = await exec(s, b, ["sh", "-c", "echo ready; read go"]);
    await hears(session, "ready");
    process.kill(s.place.pid, "SIGTERM");
    await s.monitor.signal("c1", 9);
    await s.exited("c1");
    assert.deepEqual(await states(s), { c1: "exited" });
    using _ = unreaped();
    session[Symbol.dispose]();
    assert.equal(await ended(s.place), 0);
    deleted(b);
  });
});

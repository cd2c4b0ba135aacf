import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, readFileSync, renameSync, statSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { patience } from "../../conformance/harness/patience.ts";
import { encodeFrame } from "../../src/lib/wire.ts";
import { nextSeq } from "../../src/monitor/connection.ts";
import { encodeHello, encodeId, MESSAGE } from "../../src/monitor/protocol.ts";
import { Disk, holdBy, holding, talking, timedOut } from "./frozen-disk.ts";
import { Node, noMoreOpen, openFds, parseLog, remove, run, type Sandbox } from "./monitor-fixture.ts";

const node = new Node();
after(() => node[Symbol.asyncDispose]());

test("a container that ends while its log is being reopened is no reason to say that it was not", {
  timeout: patience(60_000),
}, async () => {
  using s = await node.sandbox();
  const disk = new Disk(s);
  const talks = await holding(s, disk);
  const logPath = join(disk.dir, "talks.log");
  const reopened = s.monitor.reopenLog(talks.id);
  await s.monitor.signal(talks.id, 9);
  await s.exited(talks.id);
  // Who heard that it had failed would now put the old file back, over what was written to the new one.
  await assert.rejects(s.monitor.reopenLog(talks.id), { monitorCode: "WRONG_STATE" });
  disk.thaw();
  assert.equal(await reopened, BigInt(statSync(logPath).ino));
  await remove(s, talks);
});

test("a log is not reopened any more when it was said that it is not: the old file can be put back", {
  timeout: patience(60_000),
}, async () => {
  using opens = await node.sandbox();
  using writes = await node.sandbox();
  await Promise.all([rotateInVain(opens, "open"), rotateInVain(writes, "write")]);
});

/** As a kubelet does it, on a disk that hangs in the middle and comes back when all is over. */
async function rotateInVain(s: Sandbox, hangs: "open" | "write"): Promise<void> {
  const disk = new Disk(s);
  const logPath = join(disk.dir, "talks.log");
  const rotated = join(disk.dir, "talks.log.1");
  const talks = await talking(s, disk);
  renameSync(logPath, rotated);
  disk.freeze();
  if (hangs === "write") await holdBy(s, talks);
  await assert.rejects(s.monitor.reopenLog(talks.id), timedOut(logPath));
  disk.thaw();
  // The pump goes on: it makes a new file and leaves it, or does not even do that.
  if (hangs === "open") while (!existsSync(logPath)) await s.monitor.snapshot();
  renameSync(rotated, logPath);
  await s.monitor.signal(talks.id, 15);
  assert.equal((await s.exited(talks.id)).siStatus, 3);
  const more = hangs === "write" ? "more\n" : "";
  assert.equal(parseLog(readFileSync(logPath, "utf8")).stdout, `begins\n${more}ends\n`);
  await remove(s, talks);
}

test("a log that a daemon asked for before it went can be asked for again", { timeout: patience(60_000) }, async () => {
  using s = await node.sandbox();
  const disk = new Disk(s);
  const talks = await holding(s, disk);
  const before = openFds(s);
  const gone = createConnection(s.place.socketPath);
  gone.write(encodeFrame(MESSAGE.hello, nextSeq(), encodeHello(1n, "data")));
  gone.write(encodeFrame(MESSAGE.logReopen, nextSeq(), encodeId(talks.id)));
  await once(gone, "data");
  while (openFds(s) === before) await s.monitor.snapshot();
  await assert.rejects(s.monitor.reopenLog(talks.id), { monitorCode: "BUSY" });
  gone.destroy();
  await noMoreOpen(s, before);
  const reopened = s.monitor.reopenLog(talks.id);
  disk.thaw();
  assert.equal(await reopened, BigInt(statSync(join(disk.dir, "talks.log")).ino));
  await remove(s, talks);
});

test("a log that is to be reopened when its container is given up is answered so, and not made", {
  timeout: patience(60_000),
}, async () => {
  using s = await node.sandbox();
  const disk = new Disk(s);
  const logPath = join(disk.dir, "talks.log");
  const talks = await talking(s, disk);
  renameSync(logPath, join(disk.dir, "talks.log.1"));
  disk.freeze();
  await holdBy(s, talks);
  const reopened = s.monitor.reopenLog(talks.id);
  await Promise.all([assert.rejects(reopened, { monitorCode: "WRONG_STATE" }), remove(s, talks)]);
  disk.thaw();
  const next = await run(s, "crun", "next", ["true"], {}, { logPath: join(disk.dir, "next.log") });
  await s.exited("next");
  assert.ok(!existsSync(logPath));
  await remove(s, next);
});

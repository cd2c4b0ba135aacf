import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { patience } from "../../conformance/harness/patience.ts";
import { MonitorError } from "../../src/monitor/monitor-error.ts";
import { parseExitRecord } from "../../src/monitor/record.ts";
import { bundle, createRequest, Node, parseLog, remove, run, Sandbox, startCall } from "./monitor-fixture.ts";

const node = new Node();
after(() => node[Symbol.asyncDispose]());

function refused(code: string): (error: unknown) => boolean {
  return (error) => error instanceof MonitorError && error.monitorCode === code;
}

for (const runtime of ["crun", "runc"]) {
  describe(`with ${runtime}`, () => {
    test("a container's life: created, running, exited with its code, logged, recorded, forgotten", async () => {
      using s = await node.sandbox();
      const b = bundle(s.place, runtime, "c1", ["sh", "-c", "echo out; echo err >&2; printf tail; exit 7"]);
      const created = await s.monitor.create("c1", createRequest(b));
      const [before] = await s.monitor.snapshot();
      assert.equal(before?.state, "created");
      assert.equal(before.pid, created.pid);
      assert.equal(before.startTime, created.startTime);
      assert.equal(parseExitRecord(readFileSync(join(s.place.dir, "c1.exit")))?.state, "alive");
      await s.monitor.start("c1", startCall(b));
      const exit = await s.exited("c1");
      assert.deepEqual([exit.state, exit.siCode, exit.siStatus, exit.acked], ["exited", 1, 7, false]);
      assert.ok(exit.createdNs <= exit.startedNs && exit.startedNs <= exit.exitedNs);
      const log = parseLog(readFileSync(b.logPath, "utf8"));
      assert.deepEqual([log.stdout, log.stderr], ["out\ntail", "err\n"]);
      const { acked: _, ...rest } = exit;
      assert.deepEqual(parseExitRecord(readFileSync(join(s.place.dir, "c1.exit"))), rest);
      await assert.rejects(s.monitor.release("c1"), refused("WRONG_STATE"));
      await assert.rejects(s.monitor.shutdown(), refused("BUSY"));
      await remove(s, b);
      assert.deepEqual(await s.monitor.snapshot(), []);
      assert.deepEqual(
        readdirSync(s.place.dir).filter((f) => f.endsWith(".exit") || f.startsWith(".")),
        [],
      );
      await s.monitor.shutdown();
    });

    test("a signal that kills is told apart from an exit code", async () => {
      using s = await node.sandbox();
      const b = await run(s, runtime, "c1", ["sleep", "1000"]);
      await s.monitor.signal("c1", 9);
      const exit = await s.exited("c1");
      assert.deepEqual([exit.siCode, exit.siStatus], [2, 9]);
      await assert.rejects(s.monitor.signal("c1", 9), refused("WRONG_STATE"));
      await remove(s, b);
    });

    test("a container killed before START is exited, and START says so", async () => {
      using s = await node.sandbox();
      const b = bundle(s.place, runtime, "c1", ["true"]);
      await s.monitor.create("c1", createRequest(b));
      await s.monitor.signal("c1", 9);
      await s.exited("c1");
      await assert.rejects(s.monitor.start("c1", startCall(b)), refused("WRONG_STATE"));
      await remove(s, b);
    });

    test("a runtime that fails is quoted, and nothing of the container remains", async () => {
      using s = await node.sandbox();
      const b = bundle(s.place, runtime, "c1", ["true"]);
      const request = createRequest({ ...b, bundle: "/nonexistent" }, { cwd: "/" });
      await assert.rejects(s.monitor.create("c1", request), (error) => {
        return refused("RUNTIME_FAILED")(error) && error instanceof MonitorError && error.what.includes("nonexistent");
      });
      assert.deepEqual(await s.monitor.snapshot(), []);
      assert.deepEqual(
        readdirSync(s.place.dir).filter((f) => f.endsWith(".exit") || f.startsWith(".")),
        [],
      );
      await s.monitor.create("c1", createRequest(b));
      await remove(s, b);
    });

    test("what the container inherits: no ignored or blocked signal, its own environment, fds 0 to 2", async () => {
      using s = await node.sandbox();
      const print = "cat /proc/self/status /proc/1/oom_score_adj; echo; echo $(ls /proc/1/fd); umask; echo $0 $*";
      const b = await run(s, runtime, "c1", ["sh", "-c", `ls() { echo /proc/1/fd/*; }; ${print}; export`]);
      await s.exited("c1");
      const text = parseLog(readFileSync(b.logPath, "utf8")).stdout;
      assert.match(text, /^SigBlk:\t0000000000000000$/m);
      assert.match(text, /^SigIgn:\t0000000000000000$/m);
      assert.match(text, /^\/proc\/1\/fd\/0 \/proc\/1\/fd\/1 \/proc\/1\/fd\/2( \/proc\/1\/fd\/\d+)?$/m);
      assert.match(text, /^0022$/m);
      assert.match(text, new RegExp(`^${readFileSync("/proc/self/oom_score_adj", "utf8").trim()}$`, "m"));
      assert.doesNotMatch(text, /NACELLE|NODE_/);
      await remove(s, b);
    });
  });
}

test("two hundred containers that end at once all end with their own code", {
  timeout: patience(120_000),
}, async () => {
  using s = await node.sandbox();
  for (let i = 0; i < 200; i++) {
    const id = `c${i}`;
    const b = await run(s, "crun", id, i % 2 === 0 ? ["true"] : ["sh", "-c", `exit ${(i % 250) + 1}`]);
    const exit = await s.exited(id);
    assert.deepEqual([exit.siCode, exit.siStatus], [1, i % 2 === 0 ? 0 : (i % 250) + 1], id);
    await remove(s, b);
  }
});

test("the table of containers is full at 64, and says so", { timeout: patience(60_000) }, async () => {
  using s = await node.sandbox();
  const all = [];
  for (let i = 0; i < 64; i++) {
    const b = bundle(s.place, "crun", `c${i}`, ["true"]);
    await s.monitor.create(b.id, createRequest(b));
    all.push(b);
  }
  const more = bundle(s.place, "crun", "more", ["true"]);
  await assert.rejects(s.monitor.create("more", createRequest(more)), refused("LIMIT"));
  for (const b of all) await remove(s, b);
});

test("a newer daemon takes over: the older connection ends, and comes back no more", async () => {
  using s = await node.sandbox();
  const b = await run(s, "crun", "c1", ["sleep", "1000"]);
  const newer = await Sandbox.connect(s.place, 2n);
  assert.equal((await s.lost).monitorCode, "STALE_EPOCH");
  const [container] = await newer.monitor.snapshot();
  assert.equal(container?.state, "running");
  await remove(newer, b);
  newer.monitor.close();
});

test("stdin is /dev/null, or a pipe that stays open", async () => {
  using s = await node.sandbox();
  const b = await run(s, "crun", "null", ["cat"]);
  assert.equal((await s.exited("null")).siStatus, 0);
  const open = bundle(s.place, "crun", "open", ["cat"]);
  await s.monitor.create("open", createRequest(open, { stdin: true }));
  await s.monitor.start("open", startCall(open));
  const [, running] = await s.monitor.snapshot();
  assert.equal(running?.state, "running");
  await remove(s, open);
  await remove(s, b);
});

test("a user that is not root may open /dev/stdout again", async () => {
  using s = await node.sandbox();
  const user = { user: { uid: 1000, gid: 1000 } };
  const b = bundle(s.place, "crun", "c1", ["sh", "-c", "echo again > /proc/self/fd/1"], user);
  await s.monitor.create("c1", createRequest(b, { uid: 1000, gid: 1000 }));
  await s.monitor.start("c1", startCall(b));
  await s.exited("c1");
  assert.equal(parseLog(readFileSync(b.logPath, "utf8")).stdout, "again\n");
  await remove(s, b);
});

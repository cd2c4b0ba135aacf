import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { patience } from "../../conformance/harness/patience.ts";
import { execRequest, Node, remove, run } from "./monitor-fixture.ts";
import { inState } from "./processes.ts";

const node = new Node();
after(() => node[Symbol.asyncDispose]());

/** Seizes the process of its argument and never waits for it: what has ended then stays a zombie that its parent cannot reap. */
const TRACER =
  '$| = 1; syscall((uname())[4] eq "x86_64" ? 101 : 117, 0x4206, int $ARGV[0], 0, 0) == 0 or die "$!"; print "seized"; sleep 1000';

/** Hundredths of a second of processor time. */
function ticks(pid: number): number {
  const [, fields = ""] = /\) (.*)/.exec(readFileSync(`/proc/${pid}/stat`, "latin1")) ?? [];
  const [utime, stime] = fields.split(" ").slice(11, 13).map(Number);
  return (utime ?? 0) + (stime ?? 0);
}

test("a container that has ended and is held by a tracer costs nothing, and is told once the tracer has gone", {
  timeout: patience(60_000),
}, async () => {
  using s = await node.sandbox();
  const b = await run(s, "crun", "c1", ["sleep", "1000"]);
  const clock = await run(s, "crun", "c2", ["sleep", "1000"]);
  const pid = (await s.monitor.snapshot()).find(({ id }) => id === "c1")?.pid ?? 0;
  const tracer = spawn("perl", ["-MPOSIX=uname", "-e", TRACER, String(pid)], { stdio: ["ignore", "pipe", "inherit"] });
  try {
    assert.equal(String((await once(tracer.stdout, "data"))[0]), "seized");
    await s.monitor.signal("c1", 9);
    await inState(pid, "Z");
    const before = ticks(s.place.pid);
    const command = execRequest(clock, ["sleep", "1000"], { timeoutMs: 1000 });
    assert.equal((await s.monitor.execSync("c2", command)).outcome, "timedOut");
    assert.ok(ticks(s.place.pid) - before < 25, "the monitor turns in circles");
  } finally {
    tracer.kill("SIGKILL");
  }
  assert.equal((await s.exited("c1")).siStatus, 9);
  await s.monitor.signal("c2", 9);
  await s.exited("c2");
  await remove(s, b);
  await remove(s, clock);
});

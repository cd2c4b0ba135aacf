import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { patience } from "../../conformance/harness/patience.ts";
import { until } from "../../conformance/harness/until.ts";
import { collect, exec, Node, remove, run, type Sandbox, script } from "./monitor-fixture.ts";

const node = new Node();
after(() => node[Symbol.asyncDispose]());

const skip = (process.env.NACELLE_NATIVE ?? "").includes("asan") && "a sanitizer's own memory cannot be told apart";
/** What a monitor of one container has written to, beside what it shares with the others. */
const IDLE_KIB = 100;

function dirtyKib(s: Sandbox): number {
  const text = readFileSync(`/proc/${s.place.pid}/smaps_rollup`, "utf8");
  return Number(/^Private_Dirty:\s+(\d+)/m.exec(text)?.[1]);
}

async function idle(s: Sandbox): Promise<void> {
  await until(`the monitor has at most ${IDLE_KIB} KiB of its own`, () => dirtyKib(s) <= IDLE_KIB);
}

test("many clients and commands at once leave no memory behind", { skip, timeout: patience(60_000) }, async () => {
  using s = await node.sandbox();
  const b = await run(s, "crun", "c1", ["sleep", "1000"], {}, { stdin: true });
  await idle(s);
  const streams = { stdin: true, stdout: true, stderr: true };
  const attach = () => s.monitor.attach("c1", streams, new AbortController().signal);
  for (const session of await Promise.all(Array.from({ length: 90 }, attach))) session[Symbol.dispose]();
  const runtime = script(s.place, "quick", "(sleep 1 & echo $! >$1)");
  const command = async () => collect(await exec(s, b, [], { argv: [runtime, "@pid-file"] }));
  await Promise.all(Array.from({ length: 80 }, command));
  await idle(s);
  assert.ok(dirtyKib(s) <= IDLE_KIB, `${dirtyKib(s)} KiB`);
  await remove(s, b);
});

test("where huge pages are always used a monitor has none, and its containers may", async () => {
  using s = await node.sandbox();
  const b = await run(s, "crun", "c1", ["sleep", "1000"]);
  const [container] = await s.monitor.snapshot();
  const isEnabled = (pid: number) => /^THP_enabled:\t(\d)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  assert.deepEqual([isEnabled(s.place.pid), isEnabled(container?.pid ?? 0)], ["0", isEnabled(process.pid)]);
  await remove(s, b);
});

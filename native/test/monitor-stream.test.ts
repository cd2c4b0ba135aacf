import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { after, describe, test } from "node:test";
import { MonitorError } from "../../src/monitor/monitor-error.ts";
import type { MonitorSession } from "../../src/monitor/session.ts";
import { collect, exec, Node, remove, run, type Sandbox } from "./monitor-fixture.ts";

const node = new Node();
after(() => node[Symbol.asyncDispose]());

function openFds(s: Sandbox): number {
  return readdirSync(`/proc/${s.place.pid}/fd`).length;
}

/** Reads until the session has said this. */
async function hears(session: MonitorSession, text: string): Promise<void> {
  let heard = "";
  for await (const output of session.output) {
    if ("data" in output) heard += output.data.toString();
    if (heard.includes(text)) return;
  }
  assert.fail(`ended without ${JSON.stringify(text)}: ${JSON.stringify(heard)}`);
}

for (const runtime of ["crun", "runc"]) {
  describe(`a streaming exec with ${runtime}`, () => {
    test("carries input, output by stream, end of input and exit code", async () => {
      using s = await node.sandbox();
      const b = await run(s, runtime, "c1", ["sleep", "1000"]);
      using session = await exec(s, b, ["sh", "-c", "echo err >&2; cat; exit 3"]);
      await session.write(Buffer.from("in and out"));
      session.endInput();
      assert.deepEqual(await collect(session), { stdout: "in and out", stderr: "err\n", lost: 0 });
      assert.deepEqual(await session.ended, { outcome: "exited", status: 3 });
      using killed = await exec(s, b, ["sh", "-c", "kill -TERM $$"], { stdin: false });
      assert.deepEqual(await collect(killed), { stdout: "", stderr: "", lost: 0 });
      assert.deepEqual(await killed.ended, { outcome: "signaled", status: 15 });
      await remove(s, b);
    });

    test("gives a terminal, with its size, and sees it change", async () => {
      using s = await node.sandbox();
      const b = await run(s, runtime, "c1", ["sleep", "1000"]);
      const script = "trap 'stty size; exit 4' WINCH; tty; echo ready; while :; do sleep 0.01; done";
      using session = await exec(s, b, ["sh", "-c", script], { terminal: true });
      await hears(session, "ready\r\n");
      session.resize(132, 43);
      assert.deepEqual(await collect(session), { stdout: "43 132\r\n", stderr: "", lost: 0 });
      assert.deepEqual(await session.ended, { outcome: "exited", status: 4 });
      await remove(s, b);
    });

    test("types into a terminal, and ends its input", async () => {
      using s = await node.sandbox();
      const b = await run(s, runtime, "c1", ["sleep", "1000"]);
      using session = await exec(s, b, ["cat"], { terminal: true });
      await session.write(Buffer.from("typed\n"));
      session.endInput();
      assert.deepEqual(await collect(session), { stdout: "typed\r\ntyped\r\n", stderr: "", lost: 0 });
      assert.deepEqual(await session.ended, { outcome: "exited", status: 0 });
      await remove(s, b);
    });

    test("of what does not exist is refused, and costs nothing, however often", { timeout: 120_000 }, async () => {
      using s = await node.sandbox();
      const b = await run(s, runtime, "c1", ["sleep", "1000"]);
      await s.monitor.snapshot();
      const before = openFds(s);
      for (let i = 0; i < 20; i++)
        for (const terminal of [false, true])
          await assert.rejects(exec(s, b, ["/nonexistent"], { terminal }), (error) => {
            assert.ok(error instanceof MonitorError);
            assert.equal(error.monitorCode, "RUNTIME_FAILED");
            assert.match(error.what, /nonexistent/);
            return true;
          });
      while (openFds(s) > before) await s.monitor.snapshot();
      assert.deepEqual(
        readdirSync(s.place.dir).filter((f) => f.startsWith(".")),
        [],
      );
      await remove(s, b);
    });
  });
}

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { createConnection } from "node:net";
import { after, test } from "node:test";
import { patience } from "../../conformance/harness/patience.ts";
import { collect, exec, execRequest, Node, remove, run } from "./monitor-fixture.ts";

const node = new Node();
after(() => node[Symbol.asyncDispose]());

test("a monitor without a free descriptor closes who comes, and does not leave him waiting", async () => {
  using s = await node.sandbox();
  const highest = Math.max(...readdirSync(`/proc/${s.place.pid}/fd`).map(Number));
  const limit = (files: number) => execFileSync("prlimit", ["--pid", `${s.place.pid}`, `--nofile=${files}:4096`]);
  limit(highest + 1);
  for (let i = 0; i < 10; i++) {
    const clients = Array.from({ length: 5 }, () => createConnection(s.place.socketPath).on("error", () => undefined));
    await Promise.race(clients.map((client) => new Promise((resolve) => client.once("close", resolve))));
    for (const client of clients) client.destroy();
  }
  assert.deepEqual(await s.monitor.snapshot(), []);
  limit(4096);
  const b = await run(s, "crun", "c1", ["sleep", "1000"]);
  await remove(s, b);
});

test("every end of input reaches a terminal, however full that is", { timeout: patience(60_000) }, async () => {
  using s = await node.sandbox();
  const b = await run(s, "crun", "c1", ["sleep", "1000"]);
  const many = 100_000;
  const count = `n=0; while [ $n -lt ${many} ]; do read line || n=$((n+1)); done; echo all; exit`;
  const script = `stty -echo; trap '${count}' USR1; echo $$; while :; do sleep 0.01; done`;
  using session = await exec(s, b, ["sh", "-c", script], { terminal: true });
  let pid = "";
  for await (const output of session.output) {
    if ("data" in output) pid = output.data.toString().trim();
    break;
  }
  for (let i = 0; i < many; i++) session.endInput();
  for (let i = 0; i < 300; i++) await s.monitor.snapshot();
  await s.monitor.execSync("c1", execRequest(b, ["kill", "-USR1", pid]));
  assert.equal((await collect(session)).stdout, "all\r\n");
  await remove(s, b);
});

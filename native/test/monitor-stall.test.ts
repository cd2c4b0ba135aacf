import assert from "node:assert/strict";
import { createConnection } from "node:net";
import { after, test } from "node:test";
import { patience } from "../../conformance/harness/patience.ts";
import { encodeFrame } from "../../src/lib/wire.ts";
import { nextSeq } from "../../src/monitor/connection.ts";
import { encodeHello, MESSAGE } from "../../src/monitor/protocol.ts";
import { encodeAttach } from "../../src/monitor/stream-protocol.ts";
import { execRequest, Node, openFds, remove, run } from "./monitor-fixture.ts";

const node = new Node();
after(() => node[Symbol.asyncDispose]());

test("an attached client that takes nothing for thirty seconds loses its connection", {
  timeout: patience(90_000),
}, async () => {
  using s = await node.sandbox();
  const b = await run(s, "crun", "c1", ["sh", "-c", "while :; do seq 1 10000; sleep 0.1; done"], {}, { logPath: "" });
  await s.monitor.snapshot();
  const fds = openFds(s);
  const deaf = createConnection(s.place.socketPath);
  deaf.write(encodeFrame(MESSAGE.hello, nextSeq(), encodeHello(1n, "data")));
  const all = { stdin: false, stdout: true, stderr: true };
  deaf.write(encodeFrame(MESSAGE.attach, nextSeq(), encodeAttach("c1", all)));
  while (openFds(s) === fds) await s.monitor.snapshot();
  // There is no event on this side, who does not read is not told: each look takes a second.
  let looks = 0;
  for (; openFds(s) > fds; looks++) await s.monitor.execSync("c1", execRequest(b, ["sleep", "1"]));
  assert.ok(looks > 20, `it was closed after ${looks} s`);
  deaf.destroy();
  await remove(s, b);
});

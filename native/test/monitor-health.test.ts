import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { patience } from "../../conformance/harness/patience.ts";
import { Node, remove, run } from "./monitor-fixture.ts";

const node = new Node();
after(() => node[Symbol.asyncDispose]());

/** With v1 what is frozen does not die: the one state of which a test can make a process that SIGKILL does not end. */
const FREEZER = "/sys/fs/cgroup/freezer";

test("a container that was killed and cannot end is told of, and that it could at last", {
  skip: !existsSync(FREEZER) && "no cgroup v1 freezer",
  timeout: patience(60_000),
}, async () => {
  using s = await node.sandbox();
  const b = await run(s, "crun", "c1", ["sleep", "1000"]);
  const state = join(FREEZER, `nacelle-test-${process.pid}-${s.place.pid}-c1`, "freezer.state");
  writeFileSync(state, "FROZEN");
  await s.monitor.signal("c1", 9);
  await s.monitor.signal("c1", 9);
  assert.deepEqual({ ...(await s.told()), seconds: 0 }, { id: "c1", trouble: "cannot end", seconds: 0 });
  await s.monitor.signal("c1", 9);
  assert.deepEqual({ ...(await s.told()), seconds: 0 }, { id: "c1", trouble: "cannot end", seconds: 0 });
  writeFileSync(state, "THAWED");
  assert.equal((await s.exited("c1")).siStatus, 9);
  assert.deepEqual({ ...(await s.told()), seconds: 0 }, { id: "c1", trouble: "well", seconds: 0, of: "cannot end" });
  await remove(s, b);
});

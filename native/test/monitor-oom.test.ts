import assert from "node:assert/strict";
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { bundle, createRequest, Node, remove, startCall } from "./monitor-fixture.ts";

const node = new Node();
after(() => node[Symbol.asyncDispose]());

/** The kernel's files, word for word, in a folder that stands in for the cgroup. */
const FILES: Readonly<Record<string, readonly [name: string, text: string]>> = {
  "cgroup v2": ["memory.events", "low 0\nhigh 0\nmax 12\noom 2\noom_kill 3\noom_group_kill 1\n"],
  "cgroup v1": ["memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"],
};

describe("kills for memory", () => {
  for (const [kind, [name, text]] of Object.entries(FILES)) {
    test(`are counted as ${kind} tells them`, async () => {
      using s = await node.sandbox();
      const memoryCgroup = join(s.place.dir, "cgroup");
      mkdirSync(memoryCgroup);
      writeFileSync(join(memoryCgroup, name), text);
      assert.equal(await killsOf(s, { memoryCgroup }), 3n);
    });
  }

  test("are those of the pod since the container was made, when its own cgroup is gone before they can be read", async () => {
    using s = await node.sandbox();
    const pod = join(s.place.dir, "pod");
    const memoryCgroup = join(pod, "container");
    mkdirSync(memoryCgroup, { recursive: true });
    const tell = (folder: string, kills: number) =>
      writeFileSync(join(folder, "memory.events"), `oom 9\noom_kill ${kills}\n`);
    tell(pod, 2);
    tell(memoryCgroup, 0);
    const b = bundle(s.place, "crun", "c1", ["true"]);
    await s.monitor.create("c1", createRequest(b, { memoryCgroup }));
    tell(pod, 5);
    // As good as gone: there is nothing to be read.
    truncateSync(join(memoryCgroup, "memory.events"));
    await s.monitor.start("c1", startCall(b));
    assert.equal((await s.exited("c1")).oomKills, 3n);
    await remove(s, b);
  });

  for (const change of [{}, { memoryCgroup: "/absent" }]) {
    test(`are 0 where nobody counts them: ${JSON.stringify(change)}`, async () => {
      using s = await node.sandbox();
      assert.equal(await killsOf(s, change), 0n);
    });
  }

  test("are not looked for at a path that is none", async () => {
    using s = await node.sandbox();
    const b = bundle(s.place, "crun", "c1", ["true"]);
    for (const memoryCgroup of ["relative", `/${"x".repeat(400)}`]) {
      await assert.rejects(s.monitor.create("c1", createRequest(b, { memoryCgroup })), /MALFORMED.*memoryCgroup/);
    }
  });
});

async function killsOf(
  s: Awaited<ReturnType<typeof node.sandbox>>,
  change: { memoryCgroup?: string },
): Promise<bigint> {
  const b = bundle(s.place, "crun", "c1", ["true"]);
  await s.monitor.create("c1", createRequest(b, change));
  await s.monitor.start("c1", startCall(b));
  const { oomKills } = await s.exited("c1");
  await remove(s, b);
  return oomKills;
}

import assert from "node:assert/strict";
import { existsSync, mkdirSync, rmdirSync, truncateSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { patience } from "../../conformance/harness/patience.ts";
import { parseExitRecord } from "../../src/monitor/record.ts";
import { bundle, createRequest, Node, openFds, remove, run, startCall } from "./monitor-fixture.ts";

const node = new Node();
after(() => node[Symbol.asyncDispose]());

/** The kernel's files, word for word, in a folder that stands in for the cgroup. */
const FILES: Readonly<Record<string, readonly [name: string, text: (count: number) => string, ooms: number]>> = {
  "cgroup v2": ["memory.events", (n) => `low 0\nhigh 0\nmax 12\noom ${n + 4}\noom_kill ${n}\noom_group_kill ${n}\n`, 3],
  "cgroup v1": ["memory.oom_control", (n) => `oom_kill_disable 0\nunder_oom 0\noom_kill ${n}\n`, 0],
};

describe("kills for memory", () => {
  for (const [kind, [name, text, ooms]] of Object.entries(FILES)) {
    test(`are counted as ${kind} tells them, from the container's creation on`, async () => {
      using s = await node.sandbox();
      const memoryCgroup = join(s.place.dir, "cgroup");
      mkdirSync(memoryCgroup);
      writeFileSync(join(memoryCgroup, name), text(2));
      const localEvents = join(memoryCgroup, "memory.events.local");
      if (ooms > 0) writeFileSync(localEvents, "oom_group_kill 1\n");
      const b = bundle(s.place, "crun", "c1", ["true"]);
      await s.monitor.create("c1", createRequest(b, { memoryCgroup }));
      writeFileSync(join(memoryCgroup, name), text(5));
      if (ooms > 0) writeFileSync(localEvents, "oom_group_kill 2\n");
      await s.monitor.start("c1", startCall(b));
      const exit = await s.exited("c1");
      const groups = ooms > 0 ? 1 : 0; // without those of cgroups below
      assert.deepEqual([exit.oomKills, exit.ooms, exit.oomGroupKills], [3n, BigInt(ooms), BigInt(groups)]);
      const record = parseExitRecord(await readFile(join(s.place.dir, "c1.exit")));
      assert.deepEqual([record?.oomKills, record?.ooms, record?.oomGroupKills], [3n, BigInt(ooms), BigInt(groups)]);
      await remove(s, b);
    });
  }

  test("are suspected from those of the pod since the container was made, when its own cgroup is gone before they can be read", async () => {
    using s = await node.sandbox();
    const pod = join(s.place.dir, "pod");
    const memoryCgroup = join(pod, "container");
    mkdirSync(memoryCgroup, { recursive: true });
    const tell = (folder: string, kills: number) =>
      writeFileSync(join(folder, "memory.events"), `oom ${kills}\noom_kill ${kills}\noom_group_kill ${kills}\n`);
    tell(pod, 2);
    tell(memoryCgroup, 0);
    const b = bundle(s.place, "crun", "c1", ["true"]);
    await s.monitor.create("c1", createRequest(b, { memoryCgroup }));
    tell(pod, 5);
    // As good as gone: there is nothing to be read.
    truncateSync(join(memoryCgroup, "memory.events"));
    await s.monitor.start("c1", startCall(b));
    const { oomKills, ooms, oomGroupKills, isOfPod } = await s.exited("c1");
    // That all of a cgroup was killed may be told of a sibling's.
    assert.deepEqual([oomKills, ooms, oomGroupKills, isOfPod], [3n, 0n, 0n, true]);
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

const V1 = "/sys/fs/cgroup/memory";
const V2 = "/sys/fs/cgroup";
const isV2 = existsSync(join(V2, "cgroup.controllers"));

describe("kills for memory while the container lives", { skip: !isV2 && !existsSync(V1) && "no memory cgroup" }, () => {
  test("are told, and its end counts them", { timeout: patience(30_000) }, async () => {
    using s = await node.sandbox();
    const hog = "dd if=/dev/zero of=/dev/null bs=100M count=1";
    const command = `trap "${hog}; exit 3" TERM; ${hog}; sleep 1000 & wait`;
    const b = bundle(s.place, "crun", "c1", ["sh", "-c", command]);
    const memoryCgroup = join(isV2 ? V2 : V1, `nacelle-test-${process.pid}-${s.place.pid}-c1`);
    if (isV2) writeFileSync(join(V2, "cgroup.subtree_control"), "+memory");
    await s.monitor.create("c1", createRequest(b, { memoryCgroup }));
    writeFileSync(join(memoryCgroup, isV2 ? "memory.max" : "memory.limit_in_bytes"), "33554432");
    if (isV2 && existsSync(join(memoryCgroup, "memory.swap.max")))
      writeFileSync(join(memoryCgroup, "memory.swap.max"), "0");
    await s.monitor.start("c1", startCall(b));
    assert.deepEqual(await s.told(), { id: "c1", oomKills: 1n });
    await s.monitor.signal("c1", 15);
    const { oomKills, ooms, siStatus } = await s.exited("c1");
    assert.deepEqual([oomKills, siStatus, ooms], [2n, 3, isV2 ? 2n : 0n]);
    await remove(s, b);
  });

  test("are not told when their cgroup is removed, and nothing watches it any more", {
    timeout: patience(30_000),
  }, async () => {
    using s = await node.sandbox();
    const memoryCgroup = join(isV2 ? V2 : V1, `nacelle-test-${process.pid}-gone`);
    mkdirSync(memoryCgroup);
    const b = await run(s, "crun", "c1", ["sleep", "1000"], {}, { memoryCgroup });
    await s.monitor.snapshot(); // what START used is closed by now
    const before = openFds(s);
    rmdirSync(memoryCgroup);
    // v1 rings for it, and then both the bell and the counters are closed; v2 says nothing.
    while (!isV2 && openFds(s) > before - 2) await s.monitor.snapshot();
    await s.monitor.signal("c1", 9);
    assert.equal((await s.exited("c1")).oomKills, 0n);
    await remove(s, b);
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

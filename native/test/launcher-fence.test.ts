/** No operation of a lost daemon or launcher acts beside its successor's. Needs root and a mount namespace of its own. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { until } from "../../conformance/harness/until.ts";
import type { Launcher } from "../../src/launcher/launcher.ts";
import { PayloadWriter } from "../../src/lib/wire.ts";
import { binary, options, RawLauncher, Site } from "./launcher-fixture.ts";
import { isAlive, processesWith, startTime } from "./processes.ts";

const ROUNDS = Number(process.env.NACELLE_KILLS ?? 200);
const env = { PATH: "/bin:/usr/bin" };

function seconds(tag: number): string {
  return `${200_000 + tag}.25`;
}

describe("fencing", () => {
  it("a connection's end ends what runs, grandchildren in sessions of their own too", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const nap = seconds(1);
    const argv = ["/bin/sh", "-c", `trap '' TERM; sleep ${nap} & setsid sleep ${nap} & wait`];
    const run = launcher.run({ ...options, argv, env });
    const unified = existsSync("/sys/fs/cgroup/unified") || existsSync("/sys/fs/cgroup/cgroup.procs");
    assert.ok(unified, "a v2 hierarchy is mounted");
    await until("all run", () => processesWith(nap).length === 3);
    assert.equal(site.records().length, 1);
    await Promise.all([assert.rejects(run, { kind: "unavailable" }), launcher[Symbol.asyncDispose]()]);
    assert.ok(!isAlive(launcher.pid));
    await until("all are gone", () => processesWith(nap).length === 0);
    assert.deepEqual(site.records(), []);
  });

  it("a killed launcher is reported lost, and what it left is gone before the next one answers", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const nap = seconds(2);
    const argv = ["/bin/sh", "-c", `trap '' TERM; sleep ${nap} & setsid sleep ${nap} & wait`];
    const run = launcher.run({ ...options, argv, env });
    const failed = assert.rejects(run, { kind: "unavailable", message: /^launcher lost during a test: / });
    await until("all run", () => processesWith(nap).length === 3);
    process.kill(launcher.pid, "SIGKILL");
    await launcher.lost;
    await failed;
    assert.equal(site.records().length, 1);
    const next = await site.start();
    assert.deepEqual(processesWith(nap), []);
    assert.deepEqual(site.records(), []);
    assert.deepEqual(next.stuck, []);
    await next.run({ ...options, argv: ["/bin/true"], env });
  });

  it("the group is found without a v2 hierarchy too, when its leader is gone", async () => {
    await using site = new Site();
    mkdirSync(join(site.runDir, "ops"));
    await using first = new RawLauncher([binary, "launcher", site.runDir, "1", ""]);
    first.hello();
    await first.reply(1n);
    const nap = seconds(3);
    const argv = ["/bin/sh", "-c", `sleep ${nap} & exec sleep ${nap}`];
    const request = new PayloadWriter().str("sb1").str("x").u32(10_000).str("/").strings(argv).strings(["PATH=/bin"]);
    first.send(0x0201, 2n, request.bytes(Buffer.alloc(0)).done());
    await until("both run", () => processesWith(nap).length === 2);
    const [record = ""] = site.records();
    const [leader = "", since = ""] = readFileSync(join(site.runDir, "ops", record), "utf8").split(" ");
    assert.equal(startTime(Number(leader)), BigInt(since));
    first.child.kill("SIGKILL");
    process.kill(Number(leader), "SIGKILL");
    await first.exited;
    const next = await site.start();
    assert.deepEqual(processesWith(nap), []);
    assert.deepEqual(next.stuck, []);
  });

  it("a launcher that does not go is waited for, then killed", async () => {
    await using site = new Site();
    const first = await site.start();
    process.kill(first.pid, "SIGSTOP");
    const begun = performance.now();
    const next = await site.start(2n);
    assert.ok(performance.now() - begun > 4500);
    assert.ok(!isAlive(first.pid));
    assert.notEqual(next.pid, first.pid);
  });

  it("a record of another process with the same number harms nobody", async () => {
    await using site = new Site();
    mkdirSync(join(site.runDir, "ops"));
    writeFileSync(join(site.runDir, "ops/1-1"), `${process.pid} 1 sb1\n`);
    writeFileSync(join(site.runDir, "ops/1-2"), "torn");
    writeFileSync(join(site.runDir, "launcher"), `${process.pid} 1 1\n`);
    const launcher = await site.start();
    assert.deepEqual(launcher.stuck, []);
    assert.deepEqual(site.records(), []);
  });
});

/** Work of every kind, until the launcher is lost. */
async function load(launcher: Launcher, dir: string, nap: string): Promise<void> {
  const again = async (act: () => Promise<unknown>): Promise<never> => {
    for (;;) await act();
  };
  const made = join(dir, "mount");
  const pins = { net: join(dir, "net"), uts: join(dir, "uts") };
  await Promise.allSettled([
    again(() => launcher.run({ ...options, argv: ["/bin/true"], env })),
    again(() => launcher.run({ ...options, deadlineMs: 20, argv: ["/bin/sh", "-c", `sleep ${nap} & wait`], env })),
    again(() =>
      launcher.perform(
        [
          { op: "mkdir", path: made, mode: 0o755 },
          { op: "mount", source: "tmpfs", target: made, type: "tmpfs", flags: 0, data: "" },
          { op: "unmount", target: made },
          { op: "rmdir", path: made },
        ],
        options,
      ),
    ),
    again(() =>
      launcher.perform(
        [
          { op: "namespaces", ...pins },
          { op: "unpin", path: pins.net },
          { op: "unpin", path: pins.uts },
        ],
        options,
      ),
    ),
  ]);
}

/** What a killed list of operations left half done: its owner undoes it after a crash, and nobody redoes it behind him. */
async function undo(launcher: Launcher, dir: string): Promise<void> {
  await launcher.perform(
    [
      { op: "unmount", target: join(dir, "mount") },
      { op: "rmdir", path: join(dir, "mount") },
      { op: "unpin", path: join(dir, "net") },
      { op: "unpin", path: join(dir, "uts") },
    ],
    options,
  );
}

describe(`a launcher killed ${ROUNDS} times under load`, () => {
  it("leaves no process or record, and nothing that its successor cannot undo", async () => {
    await using site = new Site();
    const nap = seconds(4);
    for (let round = 0; round < ROUNDS; round++) {
      const launcher = await site.start(BigInt(round));
      assert.deepEqual(site.records(), []);
      assert.deepEqual(processesWith(nap), []);
      assert.deepEqual(launcher.stuck, []);
      await undo(launcher, site.dir);
      assert.deepEqual(readdirSync(site.dir), ["run"]);
      const work = load(launcher, site.dir, nap);
      await delay((round * 7) % 40); // when in its work it dies is the point of this test
      if (round % 2 === 0) process.kill(launcher.pid, "SIGKILL");
      else await launcher[Symbol.asyncDispose]();
      await work;
    }
    await undo(await site.start(BigInt(ROUNDS)), site.dir);
    assert.deepEqual(readdirSync(site.dir), ["run"]);
    assert.ok(!readFileSync("/proc/self/mounts", "utf8").includes(join(site.dir, "mount")));
  });
});

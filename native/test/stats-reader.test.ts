/** The process that reads statistics, by itself, with the files of real cgroups and network namespaces. Needs root. */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, rmdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { until } from "../../conformance/harness/until.ts";
import type { Launcher } from "../../src/launcher/launcher.ts";
import type { StatsReading, StatsSet } from "../../src/launcher/stats-protocol.ts";
import { StatsReader } from "../../src/launcher/stats-reader.ts";
import { PayloadReader, PayloadWriter } from "../../src/lib/wire.ts";
import { binary, mounts, options, RawLauncher, Site } from "./launcher-fixture.ts";
import { isAlive } from "./processes.ts";

const kept = (name: string, directory = 0) => ({ level: 1, keep: true, directory, name });

async function open(launcher: Launcher): Promise<{ readonly reader: StatsReader; readonly pid: number }> {
  const { socketPath, pid } = await launcher.startStats();
  const reader = await StatsReader.open(socketPath);
  await reader.remove([]); // when this is answered it has closed what it was born with
  return { reader, pid };
}

/** A cgroup of our own in the first hierarchy that is mounted. */
function makeCgroup(site: Site): { readonly path: string } & Disposable {
  const path = join(mounts(/^cgroup2?$/)[0] ?? "", `${site.cgroup}-stats`);
  mkdirSync(path);
  return {
    path,
    [Symbol.dispose]: () => {
      try {
        rmdirSync(path);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      }
    },
  };
}

async function readAll(reader: StatsReader, level: number, slots: readonly number[]): Promise<readonly StatsReading[]> {
  const readings: StatsReading[] = [];
  await reader.read(level, slots, (reading, index) => {
    assert.equal(index, readings.push(reading) - 1);
  });
  return readings;
}

const openFiles = (pid: number) => readdirSync(`/proc/${pid}/fd`).length;

describe("the stats reader", () => {
  it("reads files again from their start, in the order of the set, and only up to the level asked for", async () => {
    await using site = new Site();
    using stats = (await open(await site.start())).reader;
    const path = join(site.dir, "figures");
    writeFileSync(path, "1\n");
    const later = { level: 2, keep: false, directory: 0, name: "figures" };
    await stats.add(3, { netns: "", directories: [site.dir], files: [later, kept("absent"), kept("figures")] });
    const before = process.hrtime.bigint();
    const [first] = await readAll(stats, 1, [3]);
    assert.deepEqual(first?.texts, [undefined, "1\n"]);
    assert.ok(first.timeNs > 1_600_000_000_000_000_000n && before > 0n);
    writeFileSync(path, "22\n");
    assert.deepEqual((await readAll(stats, 2, [3]))[0]?.texts, ["22\n", undefined, "22\n"]);
  });

  it("does not follow links, and answers nothing of a file beyond 8 KiB", async () => {
    await using site = new Site();
    using stats = (await open(await site.start())).reader;
    writeFileSync(join(site.dir, "large"), "x".repeat(8192));
    writeFileSync(join(site.dir, "fits"), "x".repeat(8191));
    symlinkSync("fits", join(site.dir, "link"));
    await stats.add(0, {
      netns: "",
      directories: [site.dir],
      files: ["large", "fits", "link"].map((name) => kept(name)),
    });
    assert.deepEqual((await readAll(stats, 1, [0]))[0]?.texts, [undefined, "x".repeat(8191), undefined]);
  });

  it("answers more sets than a frame holds, each once and in order", async () => {
    await using site = new Site();
    using stats = (await open(await site.start())).reader;
    const slots = Array.from({ length: 300 }, (_, slot) => slot);
    for (const slot of slots) writeFileSync(join(site.dir, `f${slot}`), `${slot} ${"y".repeat(3000)}`);
    await Promise.all(
      slots.map((slot) => stats.add(slot, { netns: "", directories: [site.dir], files: [kept(`f${slot}`)] })),
    );
    const readings = await readAll(stats, 1, slots.toReversed());
    assert.deepEqual(
      readings.map(({ texts }) => texts[0]?.split(" ")[0]),
      slots.toReversed().map(String),
    );
  });

  it("reports a cgroup that vanished without, keeps it from nothing, and finds it when it is there again", async () => {
    await using site = new Site();
    const { reader, pid } = await open(await site.start());
    using stats = reader;
    using cgroup = makeCgroup(site);
    const set: StatsSet = { netns: "", directories: [cgroup.path], files: [kept("cgroup.procs")] };
    await stats.add(1, set);
    const idle = openFiles(pid);
    assert.deepEqual((await readAll(stats, 1, [1]))[0]?.texts, [""]);
    assert.equal(openFiles(pid), idle + 1);
    rmdirSync(cgroup.path);
    assert.deepEqual((await readAll(stats, 1, [1]))[0]?.texts, [undefined]);
    assert.equal(openFiles(pid), idle);
    mkdirSync(cgroup.path);
    assert.deepEqual((await readAll(stats, 1, [1]))[0]?.texts, [""]);
  });

  it("holds as many files after a thousand sets came and went as before", async () => {
    await using site = new Site();
    const { reader, pid } = await open(await site.start());
    using stats = reader;
    writeFileSync(join(site.dir, "f"), "1");
    const set: StatsSet = { netns: "", directories: [site.dir], files: [kept("f"), kept("f"), kept("f")] };
    const idle = openFiles(pid);
    for (let round = 0; round < 1_000; round++) {
      const slot = round % 7;
      await stats.add(slot, set);
      await readAll(stats, 1, [slot]);
      if (round % 2 === 1) await stats.remove([slot, slot, 9]);
    }
    await stats.remove([0, 1, 2, 3, 4, 5, 6]);
    assert.equal(openFiles(pid), idle);
  });

  it("opens and closes for each reading what the limit of open files does not let it keep", async () => {
    await using site = new Site();
    await using raw = new RawLauncher(["/usr/bin/prlimit", "--nofile=80:80", binary, "launcher", site.runDir, "5", ""]);
    raw.hello(5n);
    await raw.reply(1n);
    raw.send(0x020a, 2n, Buffer.alloc(0));
    const reply = new PayloadReader((await raw.reply(2n))?.payload ?? Buffer.alloc(0));
    const [path, pid] = [reply.str(), reply.u32()];
    using stats = await StatsReader.open(path);
    writeFileSync(join(site.dir, "f"), "1");
    const slots = Array.from({ length: 50 }, (_, slot) => slot);
    for (const slot of slots)
      await stats.add(slot, { netns: "", directories: [site.dir], files: [kept("f"), kept("f")] });
    for (let round = 0; round < 3; round++) {
      const readings = await readAll(stats, 1, slots);
      assert.deepEqual(new Set(readings.flatMap(({ texts }) => texts)), new Set(["1"]));
    }
    assert.ok(openFiles(pid) <= 80 - 50, `${openFiles(pid)} files`);
  });

  it("reads the interfaces of a namespace without keeping it alive or staying in it", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const { reader, pid } = await open(launcher);
    using stats = reader;
    const netns = join(site.dir, "net");
    await launcher.perform([{ op: "namespaces", net: netns }], options);
    const own = readFileSync("/proc/self/net/dev", "utf8").split("\n").length;
    await stats.add(1, { netns, directories: [], files: [] });
    await stats.add(2, { netns: join(site.dir, "absent"), directories: [], files: [] });
    const [inside, absent] = await readAll(stats, 1, [1, 2]);
    assert.match(inside?.texts[0] ?? "", /^ *lo: +0 /m);
    assert.deepEqual(absent?.texts, [undefined]);
    assert.equal(readFileSync(`/proc/${pid}/net/dev`, "utf8").split("\n").length, own);
    assert.ok(!readdirSync(`/proc/${pid}/fd`).some((fd) => Number(fd) > 5), "nothing of it is open");
    await launcher.perform([{ op: "unpin", path: netns }], options);
    assert.deepEqual((await readAll(stats, 1, [1]))[0]?.texts, [undefined]);
  });

  it("refuses what is out of bounds and goes on", async () => {
    await using site = new Site();
    using stats = (await open(await site.start())).reader;
    const bad: readonly [number, StatsSet][] = [
      [16_384, { netns: "", directories: [], files: [] }],
      [0, { netns: "net", directories: [], files: [] }],
      [0, { netns: "", directories: ["relative"], files: [] }],
      [0, { netns: "", directories: ["/x"], files: [kept("a/b")] }],
      [0, { netns: "", directories: ["/x"], files: [kept("a", 1)] }],
      [0, { netns: "", directories: ["/x"], files: Array.from({ length: 25 }, () => kept("a")) }],
      [0, { netns: "", directories: Array.from({ length: 17 }, () => "/x"), files: [] }],
    ];
    for (const [slot, set] of bad) await assert.rejects(stats.add(slot, set), { message: /error 1: ADD/ });
    await assert.rejects(readAll(stats, 1, [0]), { message: /error 1: READ/ });
    await stats.add(0, { netns: "", directories: [], files: [] });
    assert.deepEqual((await readAll(stats, 1, [0]))[0]?.texts, []);
  });

  it("answers mutated requests and lives", async () => {
    await using site = new Site();
    using stats = (await open(await site.start())).reader;
    const sample = new PayloadWriter().u32(1).str("").strings(["/absent"]).u32(1).u8(1).u8(1).u8(0).str("f").done();
    let state = 7;
    const next = (below: number) => {
      state = (state * 48_271) % 2_147_483_647;
      return state % below;
    };
    for (let round = 0; round < 3_000; round++) {
      const payload = Buffer.from(sample.subarray(0, 1 + next(sample.length)));
      for (let i = next(3); i >= 0; i--) payload[next(payload.length)] = next(256);
      await stats.request(0x0401 + next(4), payload);
    }
    assert.ok(stats.isOpen);
  });

  it("ends with its connection, and with the launcher however that ends", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const first = await open(launcher);
    first.reader[Symbol.dispose]();
    await until("the first has ended", () => !isAlive(first.pid));
    const second = await open(launcher);
    process.kill(launcher.pid, "SIGKILL");
    await launcher.lost;
    await until("the second has ended", () => !isAlive(second.pid) && !second.reader.isOpen);
    await assert.rejects(readAll(second.reader, 1, [0]), { kind: "unavailable" });
    using again = (await open(await site.start(2n))).reader;
    assert.ok(again.isOpen);
    assert.equal(site.records().length, 1, "its record is there for fencing");
  });
});

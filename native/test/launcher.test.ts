/** Executables, deadlines and bad frames. Needs root. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import type { Writable } from "node:stream";
import { describe, it } from "node:test";
import { until } from "../../conformance/harness/until.ts";
import { encodeFrame, PayloadReader, PayloadWriter } from "../../src/lib/wire.ts";
import { binary, options, RawLauncher, Site } from "./launcher-fixture.ts";
import { isAlive, processesWith, startTime } from "./processes.ts";

const sh = (script: string): readonly string[] => ["/bin/sh", "-c", script];

describe("an executable", () => {
  it("gets its input, environment and directory, and its output and code come back", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const result = await launcher.run({
      ...options,
      argv: sh("cat; pwd; /usr/bin/env; echo wrong >&2; exit 3"),
      env: { ONLY: "this" },
      stdin: Buffer.from("in\n"),
      cwd: "/usr",
    });
    assert.deepEqual([result.outcome, result.status, result.truncated], ["exited", 3, false]);
    assert.equal(String(result.stdout), "in\n/usr\nONLY=this\nPWD=/usr\n");
    assert.equal(String(result.stderr), "wrong\n");
  });

  it("inherits no signal state, no file but 0 to 2, and is in a session of its own", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const cat = async (file: string): Promise<string> =>
      String((await launcher.run({ ...options, argv: ["/bin/cat", file], env: {} })).stdout);
    const status = await cat("/proc/self/status");
    assert.match(status, /^Umask:\t0022$/m);
    assert.match(status, /^SigBlk:\t0+$/m);
    assert.match(status, /^SigIgn:\t0+$/m);
    const [pid, , , , , session] = (await cat("/proc/self/stat")).split(" ");
    assert.equal(session, pid);
    assert.match(await cat("/proc/self/limits"), /^Max open files +1024 /m);
    const { stdout } = await launcher.run({ ...options, argv: ["/bin/ls", "/proc/self/fd"], env: {} });
    assert.equal(String(stdout), "0\n1\n2\n3\n", "and 3, which ls reads");
  });

  it("may write more than is kept", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const argv = sh("head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2; echo end >&2; exit 5");
    const result = await launcher.run({ ...options, argv, env: { PATH: "/bin:/usr/bin" } });
    assert.deepEqual([result.outcome, result.status, result.truncated], ["exited", 5, true]);
    assert.deepEqual([result.stdout.length, result.stderr.length], [131_072, 65_536]);
  });

  it("that cannot be executed is named with the reason", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const run = launcher.run({ ...options, argv: ["/no/such"], env: {} });
    await assert.rejects(run, { name: "OperationError", code: "ENOENT", syscall: "execve", path: "/no/such" });
    const nowhere = launcher.run({ ...options, argv: ["/bin/true"], env: {}, cwd: "/no" });
    await assert.rejects(nowhere, { code: "ENOENT", syscall: "chdir" });
  });

  it("is killed with its group at its deadline, deaf or not", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const argv = sh("trap '' TERM INT HUP; sleep 1001.5 & echo before; sleep 1001.5");
    const result = await launcher.run({ ...options, deadlineMs: 300, argv, env: { PATH: "/bin:/usr/bin" } });
    assert.deepEqual([result.outcome, String(result.stdout)], ["timedOut", "before\n"]);
    await until("the group is gone", () => processesWith("1001.5").length === 0);
    await until("the record is gone", () => site.records().length === 0);
  });

  it("is killed when its caller gives up", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const abort = new AbortController();
    const run = launcher.run({ ...options, argv: ["/bin/sleep", "1002.5"], env: {} }, abort.signal);
    await until("it runs", () => processesWith("1002.5").length === 1);
    assert.deepEqual(
      launcher.snapshot().map(({ owner, what, waiting }) => ({ owner, what, waiting })),
      [{ owner: "sb1", what: "a test", waiting: false }],
    );
    abort.abort(new Error("enough"));
    await assert.rejects(run, { message: "enough" });
    await until("it is gone", () => processesWith("1002.5").length === 0);
    assert.deepEqual(launcher.snapshot(), []);
  });

  it("is answered for although a background process keeps its output open", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const result = await launcher.run({ ...options, argv: sh("sleep 1003.5 & echo done"), env: { PATH: "/bin" } });
    assert.deepEqual([result.outcome, result.status, String(result.stdout)], ["exited", 0, "done\n"]);
    for (const pid of processesWith("1003.5")) process.kill(pid, "SIGKILL");
  });
});

describe("the launcher", () => {
  it("keeps no file, record or process after 2,000 operations", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const fds = (): number => readdirSync(`/proc/${launcher.pid}/fd`).length;
    const before = fds();
    const work = Array.from({ length: 2000 }, async (_, i) => {
      if (i % 4 === 0) await launcher.run({ ...options, owner: `o${i % 9}`, argv: ["/bin/true"], env: {} });
      else await launcher.perform([{ op: "stat", path: "/" }], { ...options, owner: `o${i % 9}` });
    });
    await Promise.all(work);
    // An answer may be on its way a moment before its child is tidied up.
    await until("no file is left open", () => fds() === before);
    await until("no record is left", () => site.records().length === 0);
    const children = `/proc/${launcher.pid}/task/${launcher.pid}/children`;
    await until("no child is left", () => readFileSync(children, "utf8") === "");
  });

  it("tells how a stranger's child ended", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const child = spawn("/bin/sleep", ["1004.5"], { stdio: "ignore" });
    await once(child, "spawn");
    const pid = child.pid ?? 0;
    await launcher.watch("c/1", pid, startTime(pid));
    await launcher.kill(pid, startTime(pid) + 1n, 9);
    assert.ok(isAlive(pid), "another start time is another process");
    await launcher.kill(pid, startTime(pid), 15);
    assert.deepEqual(await site.exited("c/1"), { key: "c/1", ending: { siCode: 2, siStatus: 15 } });
    await assert.rejects(launcher.watch("c/1", pid, 1n), { kind: "notFound" });
    await launcher.unwatch("c/1");
  });

  it("tells how one ended whose parent does not reap it", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const parent = spawn("/bin/sh", ["-c", "(read line; exit 42) <&3 & echo $!; kill -STOP $$"], {
      stdio: ["ignore", "pipe", "ignore", "pipe"],
    });
    assert.ok(parent.stdout !== null);
    const [said] = await once(parent.stdout, "data");
    const pid = Number(String(said));
    await launcher.watch("c/3", pid, startTime(pid));
    (parent.stdio[3] as Writable).end("\n");
    assert.deepEqual(await site.exited("c/3"), { key: "c/3", ending: { siCode: 1, siStatus: 42 } });
    parent.kill("SIGKILL");
    await once(parent, "exit");
  });

  it("reaps what is re-parented to it and tells how it ended", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const argv = sh(
      "(trap 'exit 42' USR1; echo $$; while :; do sleep 0.05; done) </dev/null >/dev/null 2>&1 & echo $!",
    );
    const { stdout } = await launcher.run({ ...options, argv, env: { PATH: "/bin:/usr/bin" } });
    const pid = Number(String(stdout));
    await launcher.watch("c/2", pid, startTime(pid));
    await until("it listens", () => !/^SigCgt:\t0+$/m.test(readFileSync(`/proc/${pid}/status`, "utf8")));
    await launcher.kill(pid, startTime(pid), 10);
    assert.deepEqual(await site.exited("c/2"), { key: "c/2", ending: { siCode: 1, siStatus: 42 } });
  });

  it("starts monitors whose socket accepts, and forgets a stale one", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const socketPath = join(site.dir, "m.sock");
    const start = { sandboxId: "sb1", socketPath, recordDir: site.dir };
    const first = await launcher.startMonitor(start);
    await launcher.watch("m/1", first.pid, first.startTime);
    await launcher.kill(first.pid, first.startTime, 9);
    assert.deepEqual((await site.exited("m/1")).ending, { siCode: 2, siStatus: 9 });
    const { pid, startTime: since } = await launcher.startMonitor(start);
    assert.equal(startTime(pid), since);
    const socket = createConnection(socketPath);
    await once(socket, "connect");
    socket.destroy();
    const session = (): string | undefined => readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ")[3];
    await until("it has a session of its own", () => session() === String(pid));
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    assert.match(status, /^SigBlk:\tf{6}/m);
    assert.match(status, /^SigIgn:\t0+$/m);
    await launcher.watch("m/2", pid, since);
    await launcher.kill(pid, since, 9);
    await site.exited("m/2");
  });

  it("serves one connection per unpack", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const layer = join(site.dir, "layer");
    mkdirSync(layer);
    const { socketPath, pid } = await launcher.startUnpack(layer, 5000);
    const socket = createConnection(socketPath);
    await once(socket, "connect");
    socket.end();
    socket.resume();
    await once(socket, "close");
    await until("the child is gone", () => !isAlive(pid));
    assert.deepEqual(readdirSync(join(site.runDir, "u")), []);
  });

  it("says why a service manager cannot be told, and goes on", async () => {
    await using site = new Site();
    const launcher = await site.start();
    await assert.rejects(launcher.notify(join(site.dir, "absent"), "READY=1"), /No such file|ENOENT/);
    await assert.rejects(launcher.notify("@nobody-listens-here", "READY=1"), /refused|ECONNREFUSED/);
    await assert.rejects(launcher.notify(`/${"x".repeat(108)}`, "READY=1"), /NOTIFY/);
    await assert.rejects(launcher.notify("relative", "READY=1"), /NOTIFY/);
    await launcher.unwatch("none");
  });

  it("refuses what is out of bounds and goes on", async () => {
    await using site = new Site();
    await using raw = new RawLauncher([binary, "launcher", site.runDir, "5", ""]);
    raw.hello(5n);
    assert.equal((await raw.reply(1n))?.isError, false);
    const errorOf = async (seq: bigint): Promise<number> =>
      new PayloadReader((await raw.reply(seq))?.payload ?? Buffer.alloc(2)).u16();
    raw.send(0x0299, 2n, Buffer.alloc(0));
    raw.send(0x0201, 3n, Buffer.alloc(3));
    raw.send(0x0202, 4n, new PayloadWriter().str("o").str("w").u32(0).u32(0).done());
    raw.send(0x0202, 5n, new PayloadWriter().str("o").str("w").u32(1000).u32(1).u16(999).done());
    raw.send(0x0202, 6n, new PayloadWriter().str("o").str("w").u32(1000).u32(99_999).done());
    raw.send(0x0203, 7n, new PayloadWriter().u64(99n).done());
    raw.send(0x0202, 8n, new PayloadWriter().str("o").str("w").u32(1000).u32(1).u16(12).str("/").done());
    assert.deepEqual(await Promise.all([2n, 3n, 4n, 5n, 6n, 7n].map(errorOf)), [2, 1, 1, 2, 1, 6]);
    assert.equal((await raw.reply(8n))?.isError, false);
  });

  for (const [name, bytes] of [
    ["an oversized frame", Buffer.from("ffffffff010100000100000000000000", "hex")],
    ["a reply", encodeFrame(0x8101, 2n, Buffer.alloc(0))],
    ["an event", encodeFrame(0x4201, 2n, Buffer.alloc(0))],
  ] as const) {
    it(`ends the connection, and so itself, after ${name}`, async () => {
      await using site = new Site();
      await using raw = new RawLauncher([binary, "launcher", site.runDir, "5", ""]);
      raw.hello(5n);
      await raw.reply(1n);
      raw.socket.write(bytes);
      await raw.exited;
    });
  }

  it("wants HELLO first, and none of an older epoch", async () => {
    await using site = new Site();
    await using mute = new RawLauncher([binary, "launcher", site.runDir, "5", ""]);
    mute.send(0x0206, 2n, new PayloadWriter().str("key").done());
    await mute.exited;
    assert.deepEqual(mute.frames, []);
    await using old = new RawLauncher([binary, "launcher", site.runDir, "5", ""]);
    old.hello(4n);
    assert.equal(new PayloadReader((await old.reply(1n))?.payload ?? Buffer.alloc(2)).u16(), 5);
    await old.exited;
  });
});

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  chmodSync,
  createReadStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { patience } from "../../conformance/harness/patience.ts";
import { until } from "../../conformance/harness/until.ts";
import { MonitorError } from "../../src/monitor/monitor-error.ts";
import { bundle, createRequest, Node, parseLog, remove, run, type Sandbox, startCall } from "./monitor-fixture.ts";

const node = new Node();
after(() => node[Symbol.asyncDispose]());

async function logOf(
  s: Sandbox,
  command: string,
): Promise<{ stdout: string; stderr: string; records: number; raw: string }> {
  const b = await run(s, "crun", "c1", ["sh", "-c", command]);
  await s.exited("c1");
  const raw = readFileSync(b.logPath, "latin1");
  await remove(s, b);
  return { ...parseLog(raw), raw };
}

test("a line longer than 16 KiB becomes partial records and a last full one", async () => {
  using s = await node.sandbox();
  const log = await logOf(
    s,
    "head -c 100000 /proc/self/mem 2>/dev/null; yes x | tr -d '\\n' | head -c 100000; echo; echo next",
  );
  assert.equal(log.stdout, `${"x".repeat(100_000)}\nnext\n`);
  const tags = log.raw.split("\n").map((line) => line.slice(38, 39));
  assert.equal(tags.join(""), "PPPPPPFF");
  assert.ok(log.raw.split("\n").every((line) => line.length <= 40 + 16_384));
});

test("bytes of any value are kept, and an unterminated end is one partial record", async () => {
  using s = await node.sandbox();
  const log = await logOf(s, "printf 'a\\0b\\377\\r\\n\\n\\n'; printf end");
  assert.equal(log.stdout, "a\0b\u00ff\r\n\n\nend");
  assert.equal(log.raw.trimEnd().split("\n").at(-1)?.slice(31), "stdout P end");
});

test("a prompt without line feed reaches the log while the process waits", async () => {
  using s = await node.sandbox();
  const b = bundle(s.place, "crun", "c1", ["sh", "-c", "printf prompt; read x; echo rest"]);
  await s.monitor.create("c1", createRequest(b, { stdin: true }));
  await s.monitor.start("c1", startCall(b));
  const follow = execFileSync("timeout", [
    "10",
    "sh",
    "-c",
    `until grep -q 'P prompt' ${b.logPath}; do :; done; echo seen`,
  ]);
  assert.equal(follow.toString(), "seen\n");
  await remove(s, b);
});

test("100 MB arrive whole and in order while the log is rotated all the time", {
  timeout: patience(120_000),
}, async () => {
  using s = await node.sandbox();
  const expected = createHash("sha256");
  const block = Buffer.alloc(1_000_000);
  for (let line = 0; line < 20_000; line++) block.write(`line ${String(line).padStart(44, "0")}\n`, line * 50);
  const data = join(node.rootfs, "data");
  for (let i = 0; i < 100; i++) {
    block.write(String(i).padStart(8, "0"), 5); // each block has a number of its own
    appendFileSync(data, block);
    expected.update(block);
  }
  const b = bundle(s.place, "crun", "c1", ["cat", "/data"]);
  await s.monitor.create("c1", createRequest(b));
  await s.monitor.start("c1", startCall(b));
  let rotated = 0;
  let running = true;
  const exit = s.exited("c1").finally(() => {
    running = false;
  });
  while (running) {
    const to = join(b.bundle, `1.${String(rotated).padStart(5, "0")}`);
    renameSync(b.logPath, to);
    try {
      const inode = await s.monitor.reopenLog("c1");
      assert.equal(inode, BigInt(statSync(b.logPath).ino));
    } catch (error) {
      assert.ok(error instanceof MonitorError && error.monitorCode === "WRONG_STATE");
      renameSync(to, b.logPath);
      break;
    }
    rotated += 1;
    // As fast as a replaced file is seen to grow, up to the end.
    await until("the new file grows", () => !running || statSync(b.logPath).size >= 1_000_000);
  }
  const { logLostBytes } = await exit;
  const files = readdirSync(b.bundle)
    .filter((f) => f.startsWith("1."))
    .sort()
    .map((f) => join(b.bundle, f));
  const hash = createHash("sha256");
  let lines = 0;
  for (const file of [...files, b.logPath])
    for await (const line of createInterface(createReadStream(file))) {
      if (line.length < 40 || line.slice(38, 40) !== "F ")
        assert.fail(`not a full record in ${file}: ${line.slice(0, 80)}`);
      hash.update(`${line.slice(40)}\n`);
      lines += 1;
    }
  assert.deepEqual([lines, logLostBytes], [2_000_000, 0n]);
  assert.equal(hash.digest("hex"), expected.digest("hex"));
  assert.ok(rotated > 5, `${rotated} rotations`);
  await remove(s, b);
});

test("a full file system costs the output meanwhile, said and counted, and never half a record", {
  timeout: patience(60_000),
}, async () => {
  using s = await node.sandbox();
  const small = join(s.place.dir, "small");
  mkdirSync(small);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", small]);
  try {
    const b = bundle(s.place, "crun", "c1", ["sh", "-c", "while read n && [ -z $n ]; do cat /lines; done"]);
    const logPath = join(small, "0.log");
    const lines = `${"x".repeat(65)}\n`.repeat(1000);
    writeFileSync(join(node.rootfs, "lines"), lines);
    await s.monitor.create("c1", createRequest(b, { logPath, stdin: true }));
    await s.monitor.start("c1", startCall(b));
    const [container] = await s.monitor.snapshot();
    // The container's own end of its stdin pipe, opened again for writing.
    let fed = 0;
    const feed = (): void => {
      execFileSync("sh", ["-c", `echo > /proc/${container?.pid}/fd/0`]);
      fed += lines.length;
    };
    const news = (count: number): Promise<void> =>
      new Promise((resolve) => {
        s.onLogNews = () => s.logNews.length >= count && resolve();
        s.onLogNews();
      });
    for (let i = 0; i < 5; i++) feed();
    await news(2);
    assert.deepEqual(s.logNews, ["error", 28]);
    parseLog(readFileSync(logPath, "utf8"));
    execFileSync("mount", ["-o", "remount,size=64m", small]);
    while (s.logNews.length < 4) {
      feed();
      await s.monitor.snapshot();
    }
    await news(5);
    const [recovered] = await s.monitor.snapshot();
    const log = parseLog(readFileSync(logPath, "utf8"));
    assert.equal(s.logNews[2], "recovered");
    assert.ok(log.stdout.split("\n").every((line) => line === "" || line.length === 65));
    assert.equal(recovered?.logLostBytes, s.logNews[3]);
    assert.equal(s.logNews[3], BigInt(Number(s.logNews[4]) * 66));
    // It ends by itself, when it has written all that it was fed.
    execFileSync("sh", ["-c", `echo end > /proc/${container?.pid}/fd/0`]);
    const exit = await s.exited("c1");
    const end = parseLog(readFileSync(logPath, "utf8"));
    assert.equal(BigInt(end.stdout.length) + exit.logLostBytes, BigInt(fed));
    assert.equal(exit.logLostBytes, (exit.logLostLines ?? 0n) * 66n);
    await remove(s, b);
  } finally {
    execFileSync("umount", ["-l", small]);
  }
});

test("a reopen that fails leaves the old file in use", async () => {
  using s = await node.sandbox();
  const b = bundle(s.place, "crun", "c1", ["sh", "-c", "read x; echo after"]);
  await s.monitor.create("c1", createRequest(b, { stdin: true }));
  await s.monitor.start("c1", startCall(b));
  const moved = `${b.bundle}.away`;
  renameSync(b.bundle, moved);
  await assert.rejects(
    s.monitor.reopenLog("c1"),
    (e) => e instanceof MonitorError && e.monitorCode === "SYSCALL" && e.errno === 2,
  );
  const [container] = await s.monitor.snapshot();
  execFileSync("sh", ["-c", `echo > /proc/${container?.pid}/fd/0`]);
  await s.exited("c1");
  assert.equal(parseLog(readFileSync(join(moved, "0.log"), "utf8")).stdout, "after\n");
  renameSync(moved, b.bundle);
  await remove(s, b);
});

test("a container that was never started has no log, so that nobody counts one", async () => {
  using s = await node.sandbox();
  const b = bundle(s.place, "crun", "c1", ["true"]);
  await s.monitor.create("c1", createRequest(b));
  assert.equal(existsSync(b.logPath), false);
  await s.monitor.start("c1", startCall(b));
  assert.equal(existsSync(b.logPath), true);
  await s.exited("c1");
  await remove(s, b);
  const missing = createRequest(b, { logPath: join(b.bundle, "absent/0.log") });
  await assert.rejects(s.monitor.create("c1", missing), (e) => e instanceof MonitorError && e.errno === 2);
});

test("a log that cannot be made fails the start", async () => {
  using s = await node.sandbox();
  const b = bundle(s.place, "crun", "c1", ["true"]);
  await s.monitor.create("c1", createRequest(b));
  execFileSync("mkdir", [b.logPath]);
  await assert.rejects(s.monitor.start("c1", startCall(b)), (e) => e instanceof MonitorError && e.errno === 21);
  await s.monitor.signal("c1", 9);
  await s.exited("c1");
  await remove(s, b);
});

test("a log that is a symbolic link or no file is refused, and CREATE leaves nothing", async () => {
  using s = await node.sandbox();
  const b = bundle(s.place, "crun", "c1", ["true"]);
  execFileSync("ln", ["-s", "/etc/passwd", b.logPath]);
  await assert.rejects(s.monitor.create("c1", createRequest(b)), (e) => e instanceof MonitorError && e.errno === 40);
  rmSync(b.logPath);
  execFileSync("mkfifo", [b.logPath]);
  await assert.rejects(
    s.monitor.create("c1", createRequest(b)),
    (e) => e instanceof MonitorError && e.monitorCode === "SYSCALL",
  );
  assert.deepEqual(await s.monitor.snapshot(), []);
  chmodSync(b.bundle, 0o755);
  assert.deepEqual(
    readdirSync(s.place.dir).filter((f) => f.endsWith(".exit")),
    [],
  );
});

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { Operation } from "../../src/launcher/operations.ts";
import {
  decodeError,
  decodeExited,
  decodeHelloReply,
  decodeProcess,
  decodeResults,
  decodeRunReply,
  decodeServing,
  encodeCancel,
  encodeHello,
  encodeKill,
  encodeNotify,
  encodePerform,
  encodeRun,
  encodeStartMonitor,
  encodeStartUnpack,
  encodeUnwatch,
  encodeWatch,
  message,
} from "../../src/launcher/protocol.ts";
import {
  decodeStatsReadings,
  encodeStatsAdd,
  encodeStatsRead,
  encodeStatsRemove,
  type StatsReading,
  statsMessage,
} from "../../src/launcher/stats-protocol.ts";
import { encodeFrame, type Frame, FrameReader, REPLY } from "../../src/lib/wire.ts";

const golden = new Map(
  readFileSync(join(import.meta.dirname, "golden.txt"), "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.split(" "))
    .map(([name = "", hex = ""]) => [name, Buffer.from(hex, "hex")]),
);

function bytes(name: string): Buffer {
  const found = golden.get(name);
  assert.ok(found !== undefined, `golden.txt has no ${name}`);
  return found;
}

function frame(name: string): Frame {
  const [read, ...rest] = new FrameReader().push(bytes(name));
  assert.ok(read !== undefined && rest.length === 0);
  return read;
}

function readings(payload: Buffer): readonly StatsReading[] {
  const found: StatsReading[] = [];
  decodeStatsReadings(payload, (reading) => found.push(reading));
  return found;
}

const head = { owner: "sb1", what: "mount of the root file system", deadlineMs: 10_000 };

const operations: readonly Operation[] = [
  { op: "mkdir", path: "/a/b", mode: 0o755, parents: true },
  { op: "rmdir", path: "/a" },
  { op: "unlink", path: "/f" },
  { op: "rmtree", path: "/t" },
  { op: "writeFile", path: "/w", mode: 0o644, data: Buffer.from("data") },
  { op: "writeKernelFile", path: "/sys/x", data: Buffer.from("1") },
  { op: "rename", from: "/from", to: "/to" },
  {
    op: "mount",
    source: "overlay",
    target: "/m",
    type: "overlay",
    flags: 0x200000,
    data: "lowerdir=a:b",
    chdir: "/layers",
  },
  { op: "unmount", target: "/m" },
  {
    op: "namespaces",
    net: "/ns/net",
    ipc: "/ns/ipc",
    uts: "/ns/uts",
    hostname: "host",
    sysctls: [["net/ipv4/ip_forward", "1"]],
  },
  { op: "unpin", path: "/ns/net" },
  { op: "stat", path: "/s" },
  { op: "realpath", path: "/r" },
  { op: "readInRoot", root: "/root", path: "etc/passwd", max: 131_072 },
  { op: "mkdirInRoot", root: "/root", path: "var/run", mode: 0o700 },
  { op: "syncfs", path: "/sync" },
  { op: "killCgroup", paths: ["/cg/1", "/cg/2"] },
  { op: "removeCgroup", paths: ["/cg/1"] },
  { op: "statfs", path: "/fs" },
  { op: "diskUsage", path: "/du" },
];

/** In a frame of their own: what golden bytes say is never changed. */
const volumeOperations: readonly Operation[] = [
  { op: "bindInRoot", root: "/root", path: "sub/dir", target: "/target" },
  { op: "copyInRoot", root: "/root", path: "/data", target: "/copy" },
];

const scoreOperations: readonly Operation[] = [{ op: "setOomScoreAdj", path: "/cg/1", value: -500 }];

/** For pods with ids of their own. */
const ofUsers: readonly Operation[] = [
  { op: "userNamespace", path: "/ns/user", uidMap: "0 100000 65536", gidMap: "0 200000 65536" },
  {
    ...{ op: "namespaces", net: "/ns/net", ipc: "/ns/ipc", uts: "/ns/uts", hostname: "host", user: "/ns/user" },
    sysctls: [["net/ipv4/ip_forward", "1"]],
  },
  { op: "mountOverlay", user: "/ns/user", target: "/m", lower: ["b", "a"], data: "upperdir=/u", chdir: "/layers" },
  { op: "chown", path: "/c", uid: 100_000, gid: 4_294_967_294 },
  { op: "mkdirInRoot", root: "/root", path: "work", mode: 0o755, owner: { uid: 100_000, gid: 200_000 } },
  { op: "tryIdmap", user: "/ns/user", path: "/volume" },
];

const deviceOperations: readonly Operation[] = [{ op: "devices", path: "/dev/snd" }];

const MAX = 2n ** 64n - 1n;

const requests: Readonly<Record<string, readonly [number, Buffer]>> = {
  hello: [message.hello, encodeHello(7n)],
  run: [
    message.run,
    encodeRun({
      ...head,
      argv: ["/bin/cat", "-n"],
      env: { PATH: "/bin", A: "b=c" },
      stdin: Buffer.from("{}\n"),
    }),
  ],
  perform: [message.perform, encodePerform(operations, head)],
  "perform.volumes": [message.perform, encodePerform(volumeOperations, head)],
  "perform.score": [message.perform, encodePerform(scoreOperations, head)],
  "perform.users": [message.perform, encodePerform(ofUsers, head)],
  "perform.devices": [message.perform, encodePerform(deviceOperations, head)],
  cancel: [message.cancel, encodeCancel(1009n)],
  startMonitor: [message.startMonitor, encodeStartMonitor("sb1", "/run/n/m/sb1.sock", "/run/n/s/sb1")],
  watch: [message.watch, encodeWatch("c/ctr1", { pid: 99, startTime: MAX })],
  unwatch: [message.unwatch, encodeUnwatch("c/ctr1")],
  startUnpack: [message.startUnpack, encodeStartUnpack("/var/l/1", 30_000)],
  kill: [message.kill, encodeKill({ pid: 99, startTime: 5n }, 15)],
  notify: [message.notify, encodeNotify("@/org/manager", "READY=1\nSTATUS=ready")],
  startStats: [message.startStats, Buffer.alloc(0)],
  "stats.add": [
    statsMessage.add,
    encodeStatsAdd(5, {
      netns: "/ns/net",
      directories: ["/cg/memory", "/cg/pids"],
      files: [
        { level: 1, keep: true, directory: 0, name: "memory.stat" },
        { level: 2, keep: false, directory: 1, name: "pids.current" },
      ],
    }),
  ],
  "stats.remove": [statsMessage.remove, encodeStatsRemove([5, 16_383])],
  "stats.read": [statsMessage.read, encodeStatsRead(2, [5, 7])],
};

const replies: Readonly<Record<string, readonly [number, (payload: Buffer) => unknown, unknown]>> = {
  "hello.reply": [
    message.hello,
    decodeHelloReply,
    {
      version: 1,
      pid: 4242,
      startTime: 123_456_789n,
      build: "0.1.0",
      sandboxId: "",
      epoch: 7n,
      stuck: ["sb1", "images"],
    },
  ],
  "error.reply": [message.perform, decodeError, { code: 3, errno: 16, index: 2, what: "mount", path: "/a/é" }],
  "run.reply": [
    message.run,
    decodeRunReply,
    { outcome: "signaled", status: 9, truncated: true, stdout: Buffer.from("out"), stderr: Buffer.from([0, 0xff]) },
  ],
  "perform.reply": [message.perform, decodeResults, [Buffer.alloc(0), Buffer.from("d 493 0 0 0 4096")]],
  "startMonitor.reply": [message.startMonitor, decodeProcess, { pid: 4243, startTime: 123_456_790n }],
  "startUnpack.reply": [message.startUnpack, decodeServing, { socketPath: "/run/n/u/5", pid: 4244 }],
  "startStats.reply": [message.startStats, decodeServing, { socketPath: "/run/n/u/6", pid: 4245 }],
  "stats.read.reply": [
    statsMessage.read,
    readings,
    [
      { timeNs: 1_795_262_400_000_000_001n, texts: ["12\n", undefined] },
      { timeNs: 1_795_262_400_000_000_002n, texts: [] },
    ],
  ],
};

describe("the launcher's messages", () => {
  for (const [name, [type, payload]] of Object.entries(requests)) {
    it(`${name} is written as the golden bytes say`, () => {
      const { seq } = frame(name);
      assert.equal(encodeFrame(type, seq, payload).toString("hex"), bytes(name).toString("hex"));
    });
  }

  for (const [name, [type, decode, value]] of Object.entries(replies)) {
    it(`${name} is read as the golden bytes say`, () => {
      const { payload, isError, ...header } = frame(name);
      assert.equal(header.type, type | REPLY);
      assert.equal(isError, name.startsWith("error"));
      assert.deepEqual(decode(payload), value);
    });

    it(`${name} is refused when it is cut short, and read when it grew`, () => {
      const { payload } = frame(name);
      for (let end = 0; end < payload.length; end++) assert.throws(() => decode(payload.subarray(0, end)));
      assert.deepEqual(decode(Buffer.concat([payload, Buffer.from("more")])), value);
    });
  }

  it("exited is read with and without a status", () => {
    assert.deepEqual(decodeExited(frame("exited").payload), { key: "c/ctr1", ending: { siCode: 2, siStatus: 9 } });
    assert.deepEqual(decodeExited(frame("exited.unknown").payload), { key: "m/sb1", ending: undefined });
    assert.equal(frame("exited").type, message.exited);
  });

  it("frames are found in a stream cut anywhere", () => {
    const stream = Buffer.concat([...golden.values()]);
    for (const size of [1, 7, 16, 1000]) {
      const reader = new FrameReader();
      const seen: Frame[] = [];
      for (let at = 0; at < stream.length; at += size) seen.push(...reader.push(stream.subarray(at, at + size)));
      assert.equal(seen.length, golden.size);
    }
  });
});

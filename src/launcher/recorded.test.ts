import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decodedWhole, type RecordedFrame, recordedFrames, recordedVersions } from "../lib/recorded.fixture.ts";
import { PayloadReader, REPLY } from "../lib/wire.ts";
import type { Operation } from "./operations.ts";
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
  encodePerform,
  encodeRun,
  encodeStartMonitor,
  encodeStartUnpack,
  encodeUnwatch,
  encodeWatch,
  errorCode,
  message,
} from "./protocol.ts";

/** Reads an operation of PERFORM by its kind, as native/README.md describes it. */
const operations: Readonly<Record<number, (r: PayloadReader) => Operation>> = {
  1: (r) => ({ op: "mkdir", path: r.str(), mode: r.u32(), parents: r.u8() !== 0 }),
  2: (r) => ({ op: "rmdir", path: r.str() }),
  3: (r) => ({ op: "unlink", path: r.str() }),
  4: (r) => ({ op: "rmtree", path: r.str() }),
  5: (r) => ({ op: "writeFile", path: r.str(), mode: r.u32(), data: r.bytes() }),
  6: (r) => ({ op: "writeKernelFile", path: r.str(), data: r.bytes() }),
  7: (r) => ({ op: "rename", from: r.str(), to: r.str() }),
  8: (r) => ({
    op: "mount",
    source: r.str(),
    target: r.str(),
    type: r.str(),
    flags: Number(r.u64()),
    data: r.str(),
    chdir: r.str(),
  }),
  9: (r) => ({ op: "unmount", target: r.str() }),
  10: (r) => ({
    op: "namespaces",
    net: r.str(),
    ipc: r.str(),
    uts: r.str(),
    hostname: r.str(),
    sysctls: pairs(r.list((item) => item.str())),
  }),
  11: (r) => ({ op: "unpin", path: r.str() }),
  12: (r) => ({ op: "stat", path: r.str() }),
  13: (r) => ({ op: "realpath", path: r.str() }),
  14: (r) => ({ op: "readInRoot", root: r.str(), path: r.str(), max: r.u32() }),
  15: (r) => ({ op: "mkdirInRoot", root: r.str(), path: r.str(), mode: r.u32() }),
  16: (r) => ({ op: "syncfs", path: r.str() }),
  17: (r) => ({ op: "killCgroup", paths: r.list((item) => item.str()) }),
  18: (r) => ({ op: "removeCgroup", paths: r.list((item) => item.str()) }),
  19: (r) => ({ op: "statfs", path: r.str() }),
  20: (r) => ({ op: "diskUsage", path: r.str() }),
  24: (r) => ({ op: "userNamespace", path: r.str(), uidMap: r.str(), gidMap: r.str() }),
  26: (r) => ({
    op: "mountOverlay",
    user: r.str(),
    target: r.str(),
    chdir: r.str(),
    data: r.str(),
    lower: r.list((item) => item.str()),
  }),
  27: (r) => ({ op: "chown", path: r.str(), uid: r.u32(), gid: r.u32() }),
  28: (r) => ({
    op: "mkdirInRoot",
    root: r.str(),
    path: r.str(),
    mode: r.u32(),
    owner: { uid: r.u32(), gid: r.u32() },
  }),
  29: (r) => ({ op: "tryIdmap", user: r.str(), path: r.str() }),
};

/** Reads a request as it is described, and writes it as this version does. */
const rewritten: Readonly<Record<number, (r: PayloadReader) => Buffer>> = {
  [message.run]: (r) => {
    const head = { owner: r.str(), what: r.str(), deadlineMs: r.u32(), cwd: r.str() };
    const argv = r.list((item) => item.str());
    const env = Object.fromEntries(r.list((item) => assignment(item.str())));
    return encodeRun({ ...head, argv, env, stdin: r.bytes() });
  },
  [message.perform]: (r) => {
    const options = { owner: r.str(), what: r.str(), deadlineMs: r.u32() };
    return encodePerform(r.list(readOperation), options);
  },
  [message.cancel]: (r) => encodeCancel(r.u64()),
  [message.startMonitor]: (r) => encodeStartMonitor(r.str(), r.str(), r.str()),
  [message.watch]: (r) => encodeWatch(r.str(), { pid: r.u32(), startTime: r.u64() }),
  [message.unwatch]: (r) => encodeUnwatch(r.str()),
  [message.startUnpack]: (r) => encodeStartUnpack(r.str(), r.u32()),
  [message.kill]: (r) => encodeKill({ pid: r.u32(), startTime: r.u64() }, r.u32()),
};

const answers: Readonly<Record<number, (payload: Buffer) => unknown>> = {
  [message.hello | REPLY]: decodeHelloReply,
  [message.run | REPLY]: decodeRunReply,
  [message.perform | REPLY]: decodeResults,
  [message.cancel | REPLY]: decodeNothing,
  [message.startMonitor | REPLY]: decodeProcess,
  [message.watch | REPLY]: decodeNothing,
  [message.unwatch | REPLY]: decodeNothing,
  [message.startUnpack | REPLY]: decodeServing,
  [message.kill | REPLY]: decodeNothing,
  [message.exited]: decodeExited,
};

for (const version of recordedVersions()) {
  describe(`the launcher's conversation of ${version}`, () => {
    const frames = recordedFrames(version, "launcher");
    const requests = frames.filter(({ direction }) => direction === ">");
    const replies = frames.filter(({ direction }) => direction === "<");

    it("is begun today as it was then", () => {
      const hellos = requests.filter(({ frame }) => frame.type === message.hello);
      assert.deepEqual(
        hellos.map(({ connection }) => connection),
        [...new Set(frames.map(({ connection }) => connection))],
      );
      for (const { frame, name } of hellos) {
        const r = new PayloadReader(frame.payload);
        const [min, max] = [r.u16(), r.u16()];
        const today = new PayloadReader(encodeHello(r.u64()));
        assert.ok(today.u16() <= max && today.u16() >= min, `${name}: no common version`);
      }
    });

    it("has requests that today's program would write byte for byte, or with more at the end", () => {
      for (const { frame, name } of requests.filter((request) => request.frame.type !== message.hello)) {
        const rewrite = rewritten[frame.type];
        assert.ok(rewrite, `${name} is unknown`);
        const today = rewrite(new PayloadReader(frame.payload)).subarray(0, frame.payload.length);
        assert.equal(today.toString("hex"), frame.payload.toString("hex"), name);
      }
    });

    it("has replies and events that today's program reads whole", () => {
      for (const { frame, name } of replies.filter((reply) => !reply.frame.isError)) {
        const decode = answers[frame.type];
        assert.ok(decode, `${name} is unknown`);
        decodedWhole(decode, frame.payload, name);
      }
    });

    it("has errors whose codes today's program knows", () => {
      const errors = replies.filter(({ frame }) => frame.isError);
      assert.ok(errors.length > 0);
      for (const { frame, name } of errors) {
        const { code, what } = decodedWhole(decodeError, frame.payload, name);
        assert.ok(Object.values<number>(errorCode).includes(code) && what !== "", name);
      }
    });

    it("has one request for each reply", () => {
      const key = ({ connection, frame }: RecordedFrame) => `${connection} ${frame.seq} ${frame.type & ~REPLY}`;
      const asked = new Set(requests.map(key));
      for (const reply of replies.filter(({ frame }) => (frame.type & REPLY) !== 0)) {
        assert.ok(asked.delete(key(reply)), reply.name);
      }
    });
  });
}

describe("what launchers told daemons of v1", () => {
  const values = <T>(type: number, decode: (payload: Buffer) => T): T[] =>
    recordedFrames("v1", "launcher")
      .filter(({ direction, frame }) => direction === "<" && frame.type === type && !frame.isError)
      .map(({ frame }) => decode(frame.payload));

  it("tells of two launchers of two daemons", () => {
    const hellos = values(message.hello | REPLY, decodeHelloReply);
    assert.deepEqual(
      hellos.map(({ version, sandboxId, epoch, stuck }) => ({ version, sandboxId, epoch, stuck })),
      [1n, 2n].map((epoch) => ({ version: 1, sandboxId: "", epoch, stuck: [] })),
    );
  });

  it("tells of a plugin's results, a plugin's failure, three monitors and what they watched", () => {
    const runs = values(message.run | REPLY, decodeRunReply);
    const endings = new Set(runs.map(({ outcome, status }) => `${outcome} ${status}`));
    assert.deepEqual(endings, new Set(["exited 0", "exited 1"]));
    assert.ok(runs.some(({ stdout }) => stdout.includes('"ips"')));
    assert.equal(values(message.startMonitor | REPLY, decodeProcess).length, 3);
    assert.ok(values(message.exited, decodeExited).some(({ ending }) => ending?.siStatus === 7));
    assert.equal(values(message.startUnpack | REPLY, decodeServing).length, 1);
  });
});

function readOperation(r: PayloadReader): Operation {
  const kind = r.u16();
  const read = operations[kind];
  assert.ok(read, `operation ${kind} is unknown`);
  return read(r);
}

function decodeNothing(payload: Buffer): void {
  assert.equal(payload.length, 0);
}

function assignment(text: string): [string, string] {
  const at = text.indexOf("=");
  return [text.slice(0, at), text.slice(at + 1)];
}

function pairs([name, value, ...rest]: readonly string[]): (readonly [string, string])[] {
  return name === undefined || value === undefined ? [] : [[name, value], ...pairs(rest)];
}

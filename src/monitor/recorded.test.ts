import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decodedWhole, type RecordedFrame, recordedFrames, recordedVersions } from "../lib/recorded.fixture.ts";
import { PayloadReader, REPLY } from "../lib/wire.ts";
import { decodeHealth, decodeLogError, decodeLogLimit, decodeLogRecovered, decodeOom } from "./events.ts";
import { decodeContainer, decodeSnapshot } from "./monitored-container.ts";
import {
  type CreateExtras,
  decodeCreated,
  decodeError,
  decodeExecEnd,
  decodeExecOutput,
  decodeHello,
  decodeRuntimeResult,
  decodeU64,
  EVENT,
  encodeCreate,
  encodeExec,
  encodeHello,
  encodeId,
  encodeRuntime,
  encodeSignal,
  encodeStart,
  MESSAGE,
  type PipeOwner,
} from "./protocol.ts";
import { decodeStreamExit, encodeAttach, encodeExecStream, encodeInput, type StreamChoice } from "./stream-protocol.ts";

const texts = (r: PayloadReader): string[] => r.list((item) => item.str());

/** Reads a request as native/README.md describes it, in any version, and writes it as this version does. */
const rewritten: Readonly<Record<number, (r: PayloadReader) => Buffer>> = {
  [MESSAGE.snapshot]: () => Buffer.alloc(0),
  [MESSAGE.create]: (r) => {
    const id = r.str();
    const call = { deadlineMs: r.u32(), cwd: r.str(), argv: texts(r), env: texts(r), logPath: r.str() };
    const [uid, gid, flags] = [r.u32(), r.u32(), r.u16()];
    const input = { stdin: (flags & 1) !== 0, stdinOnce: (flags & 2) !== 0, terminal: (flags & 4) !== 0 };
    return encodeCreate(id, { ...call, uid, gid, ...input, memoryCgroup: r.str(), ...extras(r) });
  },
  [MESSAGE.start]: (r) => encodeStart(r.str(), { deadlineMs: r.u32(), argv: texts(r), env: texts(r) }),
  [MESSAGE.runtime]: (r) => {
    const deadlineMs = r.u32();
    return encodeRuntime(r.str(), { deadlineMs, argv: texts(r), env: texts(r) });
  },
  [MESSAGE.signal]: (r) => encodeSignal(r.str(), r.u32()),
  [MESSAGE.exec]: (r) => {
    const id = r.str();
    const limits = { timeoutMs: r.u32(), deadlineMs: r.u32(), maxOutput: Number(r.u64()) };
    return encodeExec(id, { ...limits, argv: texts(r), env: texts(r), process: r.bytes(), ...owner(r) });
  },
  [MESSAGE.execStream]: (r) => {
    const id = r.str();
    const deadlineMs = r.u32();
    const bits = r.u8();
    const streams = { ...choice(bits), terminal: (bits & 8) !== 0, width: r.u16(), height: r.u16() };
    return encodeExecStream(id, {
      deadlineMs,
      ...streams,
      argv: texts(r),
      env: texts(r),
      process: r.bytes(),
      ...owner(r),
    });
  },
  [MESSAGE.attach]: (r) => encodeAttach(r.str(), choice(r.u8())),
  [MESSAGE.input]: (r) => encodeInput(r.bytes()),
  [MESSAGE.stdinClose]: () => Buffer.alloc(0),
  [MESSAGE.logReopen]: (r) => encodeId(r.str()),
  [MESSAGE.ackExit]: (r) => encodeId(r.str()),
  [MESSAGE.release]: (r) => encodeId(r.str()),
  [MESSAGE.shutdown]: () => Buffer.alloc(0),
};

function choice(bits: number): StreamChoice {
  return { stdin: (bits & 1) !== 0, stdout: (bits & 2) !== 0, stderr: (bits & 4) !== 0 };
}

/** Of a process's pipes; monitors that were first recorded did not know it. */
function owner(r: PayloadReader): { readonly owner?: PipeOwner } {
  return r.left === 0 ? {} : { owner: { uid: r.u32(), gid: r.u32() } };
}

/** Of CREATE, since version 2. */
function extras(r: PayloadReader): { readonly extras?: CreateExtras } {
  if (r.left === 0) return {};
  const recordCopy = r.str();
  const [soft, hard] = [Number(r.u64()), Number(r.u64())];
  const policy = (["drop", "block", "rate"] as const)[r.u8()] ?? "drop";
  return { extras: { recordCopy, log: { soft, hard, policy, rate: Number(r.u64()) }, cgroup: r.str() } };
}

const answers: Readonly<Record<number, (payload: Buffer) => unknown>> = {
  [MESSAGE.hello | REPLY]: decodeHello,
  [MESSAGE.snapshot | REPLY]: decodeSnapshot,
  [MESSAGE.create | REPLY]: decodeCreated,
  [MESSAGE.start | REPLY]: decodeU64,
  [MESSAGE.runtime | REPLY]: decodeRuntimeResult,
  [MESSAGE.signal | REPLY]: decodeNothing,
  [MESSAGE.exec | REPLY]: decodeExecEnd,
  [MESSAGE.logReopen | REPLY]: decodeU64,
  [MESSAGE.ackExit | REPLY]: decodeNothing,
  [MESSAGE.release | REPLY]: decodeNothing,
  [MESSAGE.shutdown | REPLY]: decodeNothing,
  [EVENT.exit]: decodeContainer,
  [EVENT.execOutput]: decodeExecOutput,
  [EVENT.logError]: decodeLogError,
  [EVENT.logRecovered]: decodeLogRecovered,
  [EVENT.logLimit]: decodeLogLimit,
  [EVENT.oom]: decodeOom,
  [EVENT.health]: decodeHealth,
  [MESSAGE.execStream | REPLY]: decodeNothing,
  [EVENT.execExit]: decodeStreamExit,
  [MESSAGE.attach | REPLY]: decodeNothing,
  [EVENT.attachEnd]: decodeNothing,
};

for (const version of recordedVersions()) {
  describe(`the monitors' conversations of ${version}`, () => {
    const frames = recordedFrames(version, "monitor");
    const requests = frames.filter(({ direction }) => direction === ">");
    const replies = frames.filter(({ direction }) => direction === "<");

    it("are begun today as they were then: those monitors may live", () => {
      const hellos = requests.filter(({ frame }) => frame.type === MESSAGE.hello);
      assert.equal(hellos.length, new Set(frames.map(({ connection }) => connection)).size);
      for (const { frame, name } of hellos) {
        const r = new PayloadReader(frame.payload);
        const [min, max, epoch, kind] = [r.u16(), r.u16(), r.u64(), r.u8()];
        const today = new PayloadReader(encodeHello(epoch, kind === 1 ? "control" : "data"));
        assert.ok(today.u16() <= max && today.u16() >= min, `${name}: no common version`);
        assert.deepEqual([today.u64(), today.u8()], [epoch, kind], name);
      }
    });

    it("have requests that today's program would write byte for byte, or with more at the end", () => {
      for (const { frame, name } of requests.filter((request) => request.frame.type !== MESSAGE.hello)) {
        const rewrite = rewritten[frame.type];
        assert.ok(rewrite, `${name} is unknown`);
        const today = rewrite(new PayloadReader(frame.payload)).subarray(0, frame.payload.length);
        assert.equal(today.toString("hex"), frame.payload.toString("hex"), name);
      }
    });

    it("have replies and events that today's program reads whole", () => {
      for (const { frame, name } of replies.filter((reply) => !reply.frame.isError)) {
        const decode = answers[frame.type];
        assert.ok(decode, `${name} is unknown`);
        decodedWhole(decode, frame.payload, name);
      }
    });

    it("have errors whose codes today's program knows", () => {
      const errors = replies.filter(({ frame }) => frame.isError);
      assert.ok(errors.length > 0);
      for (const { frame, name } of errors) {
        assert.notEqual(decodedWhole(decodeError, frame.payload, name).code, "UNKNOWN", name);
      }
    });

    it("have one request for each reply", () => {
      const key = ({ connection, frame }: RecordedFrame) => `${connection} ${frame.seq} ${frame.type & ~REPLY}`;
      const asked = new Set(requests.map(key));
      for (const reply of replies.filter(({ frame }) => (frame.type & REPLY) !== 0)) {
        assert.ok(asked.delete(key(reply)), reply.name);
      }
    });
  });
}

describe("what monitors told daemons of v1", () => {
  const values = toldIn("v1");

  it("tell how each container ended", () => {
    const exits = values(EVENT.exit, decodeContainer);
    assert.ok(exits.every(({ state, startedNs, exitedNs }) => state === "exited" && exitedNs > startedNs));
    const endings = exits.map(({ siCode, siStatus }) => [siCode, siStatus]);
    assert.deepEqual(endings, [
      [1, 42],
      [1, 7],
    ]);
  });

  it("tell what a command printed and how it ended", () => {
    const output = values(EVENT.execOutput, decodeExecOutput).map(({ stream, data }) => `${stream} ${data}`);
    assert.deepEqual(new Set(output), new Set(["stdout out\n", "stderr err\n"]));
    const ends = values(MESSAGE.exec | REPLY, decodeExecEnd);
    assert.deepEqual(
      ends,
      [1, 2].map(() => ({ outcome: "exited", status: 3, dropped: 0n })),
    );
  });

  it("tell a second daemon what the first one left", () => {
    const all = values(MESSAGE.snapshot | REPLY, decodeSnapshot).find(({ length }) => length === 4) ?? [];
    const states = all.map(({ state, siStatus, acked }) => `${state} ${siStatus} ${acked}`);
    assert.deepEqual(states, ["running 0 false", "running 0 false", "exited 7 true", "created 0 false"]);
    const epochs = values(MESSAGE.hello | REPLY, decodeHello).map(({ epoch }) => epoch);
    assert.deepEqual([...new Set(epochs)], [1n, 2n]);
  });

  it("tell why a runtime failed", () => {
    const [error] = values(MESSAGE.create | REPLY, decodeError, true);
    assert.equal(error?.code, "RUNTIME_FAILED");
    assert.match(error.what, /absent/);
  });
});

describe("what monitors told daemons of v2", () => {
  const values = toldIn("v2");

  it("tell that they are of version 2, to two daemons", () => {
    const hellos = values(MESSAGE.hello | REPLY, decodeHello);
    assert.ok(hellos.every((hello) => hello.version === 2));
    assert.deepEqual([...new Set(hellos.map(({ epoch }) => epoch))], [1n, 2n]);
  });

  it("tell of a log at both of its limits, and what of it was lost", () => {
    const limits = values(EVENT.logLimit, decodeLogLimit);
    assert.deepEqual(
      limits.map(({ limit }) => limit),
      ["soft", "hard"],
    );
    const much = values(EVENT.exit, decodeContainer).find(({ id }) => id === limits[0]?.id);
    const { logLostBytes = 0n, logLostLines = 0n } = much ?? {};
    assert.ok(logLostLines > 500n && logLostBytes > logLostLines);
  });

  it("tell of a kill for memory while the container lives, and at its end", () => {
    const [oom] = values(EVENT.oom, decodeOom);
    const big = values(EVENT.exit, decodeContainer).find(({ id }) => id === oom?.id);
    assert.deepEqual([oom?.oomKills, big?.oomKills, big?.siStatus], [1n, 1n, 9]);
  });

  it("tell how a command with streams has ended", () => {
    assert.deepEqual(values(EVENT.execExit, decodeStreamExit), [{ outcome: "exited", status: 4 }]);
  });
});

/** What monitors of a version said of one type. */
function toldIn(version: string) {
  return <T>(type: number, decode: (payload: Buffer) => T, isError = false): T[] =>
    recordedFrames(version, "monitor")
      .filter(({ direction, frame }) => direction === "<" && frame.type === type && frame.isError === isError)
      .map(({ frame }) => decode(frame.payload));
}

function decodeNothing(payload: Buffer): void {
  assert.equal(payload.length, 0);
}

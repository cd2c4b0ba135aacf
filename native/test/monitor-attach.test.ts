import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createConnection } from "node:net";
import { after, describe, test } from "node:test";
import { encodeFrame, FrameReader } from "../../src/lib/wire.ts";
import { nextSeq } from "../../src/monitor/connection.ts";
import { MonitorError } from "../../src/monitor/monitor-error.ts";
import { decodeExecOutput, EVENT, encodeHello, MESSAGE } from "../../src/monitor/protocol.ts";
import type { MonitorSession } from "../../src/monitor/session.ts";
import { decodeGap, encodeAttach } from "../../src/monitor/stream-protocol.ts";
import {
  bundle,
  collect,
  createRequest,
  hears,
  Node,
  parseLog,
  remove,
  run,
  type Sandbox,
  startCall,
} from "./monitor-fixture.ts";

const node = new Node();
after(() => node[Symbol.asyncDispose]());

const ALL = { stdin: true, stdout: true, stderr: true };

function attach(s: Sandbox, streams = ALL, id = "c1"): Promise<MonitorSession> {
  return s.monitor.attach(id, streams, new AbortController().signal);
}

function refused(code: string): (error: unknown) => boolean {
  return (error) => error instanceof MonitorError && error.monitorCode === code;
}

for (const runtime of ["crun", "runc"]) {
  describe(`attached with ${runtime}`, () => {
    test("before the start, every client gets what it asked for, and the log all of it", async () => {
      using s = await node.sandbox();
      const b = bundle(s.place, runtime, "c1", ["sh", "-c", "echo out; echo err >&2; exit 3"]);
      await s.monitor.create("c1", createRequest(b));
      using both = await attach(s);
      using errors = await attach(s, { stdin: false, stdout: false, stderr: true });
      await s.monitor.start("c1", startCall(b));
      assert.deepEqual(await collect(both), { stdout: "out\n", stderr: "err\n", lost: 0 });
      assert.deepEqual(await collect(errors), { stdout: "", stderr: "err\n", lost: 0 });
      assert.equal(await both.ended, undefined);
      const { stdout, stderr } = parseLog(readFileSync(b.logPath, "utf8"));
      assert.deepEqual([stdout, stderr], ["out\n", "err\n"]);
      await assert.rejects(attach(s), refused("WRONG_STATE"));
      await assert.rejects(attach(s, ALL, "nobody"), refused("NO_SUCH"));
      await remove(s, b);
    });

    test("to a terminal: size, typing and output, which is logged as stdout", async () => {
      using s = await node.sandbox();
      const script = "stty size; read line; echo got $line; tty >&2; exit 4";
      const b = bundle(s.place, runtime, "c1", ["sh", "-c", script], { terminal: true });
      await s.monitor.create("c1", createRequest(b, { terminal: true, stdin: true }));
      using session = await attach(s);
      session.resize(101, 37);
      await s.monitor.start("c1", startCall(b));
      await hears(session, "37 101\r\n");
      await session.write(Buffer.from("typed\n"));
      const { stdout, stderr } = await collect(session);
      assert.match(stdout, /^typed\r\ngot typed\r\n\/dev\/(pts\/0|console)\r\n$/);
      assert.equal(stderr, "");
      assert.equal((await s.exited("c1")).siStatus, 4);
      assert.match(parseLog(readFileSync(b.logPath, "utf8")).stdout, /^37 101\r\ntyped\r\ngot typed\r\n/);
      await remove(s, b);
    });
  });
}

test("a container that closes and opens its terminal again is not hung up", async () => {
  using s = await node.sandbox();
  const script = "exec <&- >&- 2>&-; sleep 0.2; exec <>/dev/console >&0 2>&0; echo back";
  const b = await run(s, "crun", "c1", ["sh", "-c", script], { terminal: true }, { terminal: true });
  await s.exited("c1");
  assert.equal(parseLog(readFileSync(b.logPath, "utf8")).stdout, "back\r\n");
  await remove(s, b);
});

test("input stays open for later clients", async () => {
  using s = await node.sandbox();
  const b = await run(s, "crun", "c1", ["cat"], {}, { stdin: true });
  for (const text of ["one\n", "two\n"]) {
    using session = await attach(s);
    await session.write(Buffer.from(text));
    session.endInput();
    await hears(session, text);
  }
  await s.monitor.signal("c1", 9);
  await s.exited("c1");
  assert.equal(parseLog(readFileSync(b.logPath, "utf8")).stdout, "one\ntwo\n");
  await remove(s, b);
});

for (const how of ["its end of input", "its leaving"])
  test(`stdin once ends with the first client's: by ${how}`, async () => {
    using s = await node.sandbox();
    const b = await run(s, "crun", "c1", ["sh", "-c", "cat; exit 8"], {}, { stdin: true, stdinOnce: true });
    using watching = await attach(s, { ...ALL, stdin: false });
    const session = await attach(s);
    await session.write(Buffer.from("all\n"));
    await hears(watching, "all\n");
    if (how === "its leaving") session[Symbol.dispose]();
    else session.endInput();
    assert.equal((await s.exited("c1")).siStatus, 8);
    session[Symbol.dispose]();
    await remove(s, b);
  });

test("input for a container without is dropped", async () => {
  using s = await node.sandbox();
  const b = await run(s, "crun", "c1", ["sh", "-c", "cat; sleep 1000"]);
  using session = await attach(s);
  for (let i = 0; i < 20; i++) await session.write(Buffer.alloc(1 << 20));
  session.endInput();
  await remove(s, b);
  assert.deepEqual(await collect(session), { stdout: "", stderr: "", lost: 0 });
});

test("a client that reads nothing loses the middle, and holds up neither container nor log", async () => {
  using s = await node.sandbox();
  const b = bundle(s.place, "crun", "c1", ["sh", "-c", "seq 1 1000000; exit 2"]);
  await s.monitor.create("c1", createRequest(b));
  const deaf = createConnection(s.place.socketPath);
  const frames = new FrameReader();
  const attached = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  const heard: string[] = [];
  let lost = 0;
  deaf.on("data", (chunk: Buffer) => {
    for (const frame of frames.push(chunk)) {
      if (frame.type === (MESSAGE.attach | 0x8000)) attached.resolve();
      if (frame.type === EVENT.execOutput) heard.push(decodeExecOutput(frame.payload).data.toString());
      if (frame.type === EVENT.gap) {
        lost += Number(decodeGap(frame.payload).lostBytes);
        heard.push("|");
      }
      if (frame.type === EVENT.attachEnd) ended.resolve();
    }
  });
  deaf.write(encodeFrame(MESSAGE.hello, nextSeq(), encodeHello(1n, "data")));
  deaf.write(encodeFrame(MESSAGE.attach, nextSeq(), encodeAttach("c1", ALL)));
  await attached.promise;
  deaf.pause();
  await s.monitor.start("c1", startCall(b));
  assert.equal((await s.exited("c1")).siStatus, 2);
  const log = parseLog(readFileSync(b.logPath, "utf8")).stdout;
  await remove(s, b); // what is kept for the client outlives the container
  deaf.resume();
  await ended.promise;
  deaf.destroy();
  const [begin = "", end = "", ...rest] = heard.join("").split("|");
  assert.deepEqual(rest, []);
  assert.ok(log.startsWith(begin) && log.endsWith(end) && begin.length > 0 && end.length > 100_000);
  assert.equal(begin.length + lost + end.length, log.length);
  assert.ok(lost > 1_000_000);
});

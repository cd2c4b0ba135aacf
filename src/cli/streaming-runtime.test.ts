import assert from "node:assert/strict";
import { test } from "node:test";
import { DomainError } from "../lib/errors.ts";
import { lost } from "../monitor/monitor-error.ts";
import type { Output } from "../monitor/output-queue.ts";
import type { MonitorSession } from "../monitor/session.ts";
import type { StreamExit } from "../monitor/stream-protocol.ts";
import { streamingRuntime } from "./streaming-runtime.ts";

const never = new AbortController().signal;
const streams = { containerId: "c", stdin: true, stdout: true, stderr: true, tty: false };

/** A session that says this and ends so; what is asked of it is kept. */
function runtime(output: readonly Output[], ended: Promise<StreamExit | undefined>) {
  const calls: unknown[] = [];
  const session = {
    output: (async function* () {
      yield* output;
    })(),
    ended,
    resize: (width: number, height: number) => calls.push([width, height]),
  } as unknown as MonitorSession;
  const containers = { exec: async () => session, attach: async () => session };
  const sandboxes = { dial: () => Promise.reject(new Error("not here")) };
  return { calls, runtime: streamingRuntime({ containers, sandboxes }) };
}

async function texts(output: AsyncIterable<{ readonly stream: string; readonly data: Buffer }>): Promise<string[]> {
  const all: string[] = [];
  for await (const { stream, data } of output) all.push(`${stream} ${data.toString()}`);
  return all;
}

test("a session's end is an exit code, 128 and more for a signal, and none for an attach", async () => {
  const ends: readonly [StreamExit | undefined, number | undefined][] = [
    [{ outcome: "exited", status: 3 }, 3],
    [{ outcome: "signaled", status: 15 }, 143],
    [undefined, undefined],
  ];
  for (const [end, code] of ends) {
    const session = await runtime([], Promise.resolve(end)).runtime.exec({ ...streams, command: ["x"] }, never);
    assert.equal(await session.ended, code);
  }
});

test("a session that broke is an error of the domain, asked for or not", async () => {
  const broken = Promise.reject(lost("EXEC_STREAM c", "the connection broke"));
  const session = await runtime([], broken).runtime.exec({ ...streams, command: ["x"] }, never);
  await assert.rejects(session.ended, (error) => error instanceof DomainError && error.kind === "unavailable");
});

test("what an attached client has missed is told on stderr, and nowhere else", async () => {
  const said: readonly Output[] = [
    { stream: "stdout", lostBytes: 7n },
    { stream: "stdout", data: Buffer.from("on") },
  ];
  const attach = (change: object) =>
    runtime(said, Promise.resolve(undefined)).runtime.attach({ ...streams, ...change }, never);
  const note = "stderr \n[7 bytes of stdout lost: this client reads too slowly]\n";
  assert.deepEqual(await texts((await attach({})).output), [note, "stdout on"]);
  assert.deepEqual(await texts((await attach({ stderr: false })).output), ["stdout on"]);
  assert.deepEqual(await texts((await attach({ tty: true })).output), ["stdout on"]);
});

test("a size beyond what a terminal can have is the largest", async () => {
  const { calls, runtime: made } = runtime([], Promise.resolve(undefined));
  const session = await made.attach({ ...streams, tty: true }, never);
  session.resize({ width: 80, height: 1e9 });
  assert.deepEqual(calls, [[80, 65_535]]);
});

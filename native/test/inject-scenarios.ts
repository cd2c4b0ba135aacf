/** What a daemon does with a monitor, in small: each scenario ends with everything released. */
import assert from "node:assert/strict";
import { renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { MonitorSession } from "../../src/monitor/session.ts";
import type { ExecStreamRequest } from "../../src/monitor/stream-protocol.ts";
import { DEADLINE_MS, type Life, within } from "./inject.ts";
import { LIMITED } from "./inject-limited.ts";
import { assertEnding, create, ENV, end, execRequest, type Scenario, shell, start } from "./inject-steps.ts";
import { collect, hears } from "./monitor-fixture.ts";

const never = new AbortController().signal;

export const SCENARIOS: readonly Scenario[] = [
  { name: "a container lives and ends, from the monitor's birth", fromBirth: true, live: liveAndEnd },
  { name: "a log is rotated under a container that speaks", live: rotate },
  { name: "execs are waited for, one for too long", live: execSync },
  { name: "an exec has a terminal and a client", live: execStream },
  { name: "a container with a terminal is attached to", live: attachTerminal },
  { name: "a container is attached to and fed", live: attach },
  { name: "a container ends while nobody is connected", live: reconnect },
  { name: "a port is dialled here and in another namespace", live: dial },
  ...LIMITED,
];

async function liveAndEnd(life: Life, runtime: string): Promise<void> {
  const memoryCgroup = life.place.dir;
  writeFileSync(join(memoryCgroup, "memory.events"), "oom 0\noom_kill 0\n");
  const path = await create(life, runtime, "c", "echo one; echo two; printf three; exit 7", { memoryCgroup });
  const endings = await start(life, runtime, "c", path);
  const { logLostBytes } = await life.exited("c", ...endings);
  if (endings.length === 1) life.checkLog(["0.log"], "one\ntwo\nthree", logLostBytes);
  await life.release("c");
}

async function rotate(life: Life, runtime: string): Promise<void> {
  const script = "echo one; printf two; read line; echo three; echo four; exit 7";
  const path = await create(life, runtime, "c", script, { stdin: true, stdinOnce: true });
  const endings = await start(life, runtime, "c", path);
  if (endings.length === 1) {
    const [first, second] = [join(life.place.dir, "0.log"), join(life.place.dir, "1.log")];
    renameSync(first, second);
    await life.ask("LOG_REOPEN", (monitor) => monitor.reopenLog("c"));
    await attached(life, async (session) => {
      await session.write(Buffer.from("go on\n"));
      await collect(session);
    });
  }
  const { logLostBytes } = await life.exited("c", ...endings);
  if (endings.length === 1) life.checkLog(["1.log", "0.log"], "one\ntwothree\nfour\n", logLostBytes);
  await life.release("c");
}

async function execSync(life: Life, runtime: string): Promise<void> {
  const path = await create(life, runtime, "c", "exec sleep 1000", { logPath: "" });
  if ((await start(life, runtime, "c", path)).length === 1) {
    const script = "echo out; echo err >&2; exit 3";
    const said = await life.ask("EXEC", (monitor) => monitor.execSync("c", execRequest(runtime, script)));
    assertEnding(life, said, "exited", 3);
    const heard = said.stdout.toString() + said.stderr.toString();
    if (said.droppedBytes === 0) assert.equal(heard, "out\nerr\n");
    else assert.equal(heard.length + said.droppedBytes, 8);
    const late = await life.ask("EXEC", (m) => m.execSync("c", execRequest(runtime, "sleep 1000", { timeoutMs: 30 })));
    assert.equal(late.outcome, "timedOut");
  }
  await life.exited("c", ...(await end(life, "c")));
  await life.release("c");
}

function streamRequest(runtime: string, script: string, terminal: boolean): ExecStreamRequest {
  const console = terminal ? "@console" : "-";
  return {
    argv: [runtime, "exec", "@pid-file", console, "--", ...shell(script)],
    env: ENV,
    deadlineMs: DEADLINE_MS,
    stdin: true,
    stdout: true,
    stderr: !terminal,
    terminal,
    width: 80,
    height: 24,
    process: Buffer.from("{}"),
  };
}

async function execStream(life: Life, runtime: string): Promise<void> {
  const path = await create(life, runtime, "c", "exec sleep 1000", { logPath: "" });
  if ((await start(life, runtime, "c", path)).length === 1) {
    for (const terminal of [true, false]) {
      await life.ask("EXEC_STREAM", async (monitor) => {
        const script = "read line; echo heard $line; exit 3";
        using session = await monitor.exec("c", streamRequest(runtime, script, terminal), never);
        session.resize(100, 30);
        await session.write(Buffer.from("me\n"));
        await hears(session, "heard me");
        session.endInput();
        await collect(session);
        const ended = await session.ended;
        assertEnding(life, ended ?? { outcome: "none", status: 0 }, "exited", 3);
      });
    }
  }
  await life.exited("c", ...(await end(life, "c")));
  await life.release("c");
}

async function attachTerminal(life: Life, runtime: string): Promise<void> {
  const script = "read line; echo heard $line; read line; exit 7";
  const path = await create(life, runtime, "c", script, { stdin: true, terminal: true });
  if ((await start(life, runtime, "c", path)).length === 1)
    await attached(life, async (session) => {
      session.resize(100, 30);
      await session.write(Buffer.from("me\nall\n"));
      await collect(session);
    });
  await life.exited("c", ...(await end(life, "c")));
  await life.release("c");
}

async function attach(life: Life, runtime: string): Promise<void> {
  const script = "read line; echo heard $line; read line; exit 7";
  const path = await create(life, runtime, "c", script, { stdin: true });
  const endings = await start(life, runtime, "c", path);
  if (endings.length === 1)
    await attached(life, async (session) => {
      await session.write(Buffer.from("me\nall\n"));
      await collect(session);
    });
  await life.exited("c", ...endings);
  await life.release("c");
}

/** A client of "c", which comes again when it has lost its connection, unless what it had sent has ended the container. */
async function attached(life: Life, speak: (session: MonitorSession) => Promise<void>): Promise<void> {
  await life.ask("ATTACH", async (monitor) => {
    const streams = { stdin: true, stdout: true, stderr: true };
    using session = await monitor.attach("c", streams, never).catch((error: Error) => {
      assert.match(error.message, /WRONG_STATE \(0\): exited|LOST|SYSCALL/);
      if (/exited/.test(error.message)) return undefined;
      throw error;
    });
    if (session === undefined) return;
    await speak(session);
    await session.ended;
  });
}

async function reconnect(life: Life, runtime: string): Promise<void> {
  const path = await create(life, runtime, "c", "read line; exit 7", { logPath: "", stdin: false });
  const endings = await start(life, runtime, "c", path);
  life.leave();
  await life.ask("HELLO", () => life.connected());
  await life.exited("c", ...endings);
  await life.release("c");
}

async function dial(life: Life): Promise<void> {
  const server = createServer((socket) => socket.on("error", () => undefined).pipe(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  try {
    for (const netns of ["", `/proc/${process.pid}/ns/net`])
      await life.ask("NET_CONNECT", async (monitor) => {
        const socket = await monitor.dial({ netns, port: address.port, deadlineMs: DEADLINE_MS }, never);
        try {
          socket.end("echo");
          assert.equal(await within("echo", text(socket)), "echo");
        } finally {
          socket.destroy();
        }
      });
  } finally {
    server.close();
  }
}

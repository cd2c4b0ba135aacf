/** What scenarios of a failing monitor are made of: a container's life, as a daemon asks for it that repeats itself. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { CreateRequest, ExecRequest } from "../../src/monitor/protocol.ts";
import { DEADLINE_MS, type Ending, KILLED, type Life } from "./inject.ts";

export interface Scenario {
  readonly name: string;
  /** Calls fail from the monitor's first on, before anybody has connected. */
  readonly fromBirth?: boolean;
  readonly live: (life: Life, runtime: string) => Promise<void>;
}

export const ENV = ["PATH=/bin:/usr/bin"];
export const SEVEN: Ending = { siCode: 1, siStatus: 7 };
export function shell(script: string): string[] {
  return ["/bin/sh", "-c", script];
}

function gate(life: Life, id: string): string {
  return join(life.place.dir, `${id}.gate`);
}

/** Creates a container, which `attempt` tries again under a new name of its gate. */
export async function create(
  life: Life,
  runtime: string,
  id: string,
  script: string,
  change: Partial<CreateRequest> = {},
): Promise<string> {
  let attempt = 0;
  await life.ask(`CREATE ${id}`, (monitor) => {
    attempt += 1;
    const console = change.terminal === true ? "@console" : "-";
    return monitor.create(id, {
      argv: [runtime, "create", `${gate(life, id)}${attempt}`, "@pid-file", console, "--", ...shell(script)],
      env: ENV,
      deadlineMs: DEADLINE_MS,
      cwd: "/",
      logPath: join(life.place.dir, "0.log"),
      uid: 0,
      gid: 0,
      stdin: false,
      ...change,
    });
  });
  return `${gate(life, id)}${attempt}`;
}

/** How it may end from now on: one whose START failed is killed, as a daemon does. */
export async function start(life: Life, runtime: string, id: string, path: string): Promise<readonly Ending[]> {
  const argv = [runtime, "start", path];
  const failure = await life.try(`START ${id}`, (m) => m.start(id, { argv, env: ENV, deadlineMs: DEADLINE_MS }));
  if (failure === undefined) return [SEVEN];
  await end(life, id);
  return [SEVEN, KILLED];
}

/** SIGKILL, unless it has ended. */
export async function end(life: Life, id: string): Promise<readonly Ending[]> {
  await life.ask(`SIGNAL ${id}`, async (monitor) => {
    const found = (await monitor.snapshot()).find((container) => container.id === id);
    if (found?.state !== "exited")
      await monitor.signal(id, 9).catch((error: Error) => assert.match(error.message, /exited|LOST/));
    const left = (await monitor.snapshot()).find((container) => container.id === id);
    if (left?.state !== "exited")
      await monitor.signal(id, 9).catch((error: Error) => assert.match(error.message, /exited/));
  });
  return [SEVEN, KILLED];
}

export function execRequest(runtime: string, script: string, change: Partial<ExecRequest> = {}): ExecRequest {
  return {
    argv: [runtime, "exec", "@pid-file", "-", "--", ...shell(script)],
    env: ENV,
    deadlineMs: DEADLINE_MS,
    timeoutMs: 0,
    maxOutput: 1 << 20,
    process: Buffer.from("{}"),
    ...change,
  };
}

export function assertEnding(
  life: Life,
  ended: { outcome: string; status: number },
  outcome: string,
  status: number,
): void {
  if (life.orders.hit.call === "waitid" && ended.outcome === "signaled" && ended.status === 0) return;
  assert.deepEqual([ended.outcome, ended.status], [outcome, status]);
}

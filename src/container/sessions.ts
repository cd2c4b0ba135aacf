import type { MonitorSession } from "../monitor/session.ts";
import type { Handlers } from "../sandbox/handlers.ts";
import type { Monitors } from "../sandbox/monitors.ts";
import type { Paths } from "../sandbox/paths.ts";
import { explained } from "../sandbox/runtime-calls.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { type Container, isAlive, requirePhase } from "./container.ts";
import { type ExecChoice, execCall } from "./exec-process.ts";

interface SessionPorts {
  readonly monitors: Monitors;
  readonly handlers: Handlers;
  readonly paths: Paths;
}

/** Streams of which a client wants some. */
export interface SessionStreams {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

/** With `tty` there is no stderr. */
export interface ExecSession extends ExecChoice, SessionStreams {}

/** Resolves when the command runs; as what and how is as with `execSync`. Disposing of the session kills it. */
export async function openExec(
  ports: SessionPorts,
  sandbox: Sandbox,
  { id }: Container,
  request: ExecSession,
  signal: AbortSignal,
): Promise<MonitorSession> {
  const entry = ports.handlers.requireOf(sandbox);
  const monitor = ports.monitors.require(sandbox.id);
  const { stdin, stdout, stderr, tty } = request;
  const streams = { stdin, stdout, stderr: stderr && !tty, terminal: tty, width: 0, height: 0 };
  using opened = new DisposableStack();
  let session: MonitorSession;
  {
    // What it holds may fail to go when the command runs already.
    await using call = await execCall(ports.paths, entry, { sandbox, id, monitor }, request);
    const { argv, env, deadlineMs, process, owner } = call;
    const open = () => monitor.exec(id, { argv, env, deadlineMs, process, owner, ...streams }, signal);
    session = opened.use(await explained(`${entry.handler.name} exec`, open, monitor));
  }
  opened.move();
  return session;
}

/** The streams of the container's first process, from now on. It may be created and not started yet. */
export function openAttach(
  ports: SessionPorts,
  container: Container,
  { stdin, stdout, stderr }: SessionStreams,
  signal: AbortSignal,
): Promise<MonitorSession> {
  const { id, sandboxId } = isAlive(container) ? container : requirePhase(container, "running");
  const monitor = ports.monitors.require(sandboxId);
  return explained("attach", () => monitor.attach(id, { stdin, stdout, stderr }, signal), monitor);
}

import { DomainError } from "../lib/errors.ts";
import type { Handlers } from "../sandbox/handlers.ts";
import type { Monitors } from "../sandbox/monitors.ts";
import type { Paths } from "../sandbox/paths.ts";
import { explained } from "../sandbox/runtime-calls.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import type { Container } from "./container.ts";
import { execCall } from "./exec-process.ts";

export interface ExecPorts {
  readonly monitors: Monitors;
  readonly handlers: Handlers;
  readonly paths: Paths;
  /** Both outputs together: a kubelet takes messages of 16 MiB. */
  readonly execs: { readonly maxOutputBytes: number };
}

export interface ExecResult {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly exitCode: number;
}

/**
 * Runs a command in a running container as its first process runs: user, environment, capabilities, working directory.
 * Any exit code is a result; past `timeoutMs` (0: none) the process is killed and this rejects with "deadlineExceeded".
 */
export async function execSync(
  ports: ExecPorts,
  sandbox: Sandbox,
  container: Container,
  command: readonly string[],
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ExecResult> {
  const entry = ports.handlers.requireOf(sandbox);
  const monitor = ports.monitors.require(sandbox.id);
  const place = { sandbox, id: container.id, monitor };
  await using call = await execCall(ports.paths, entry, place, { command, tty: false });
  const { argv, env, deadlineMs, process, owner } = call;
  const request = { argv, env, deadlineMs, process, owner, timeoutMs, maxOutput: ports.execs.maxOutputBytes };
  const result = await explained(`${entry.handler.name} exec`, () => monitor.execSync(container.id, request, signal));
  if (result.outcome === "timedOut") {
    throw new DomainError(
      "deadlineExceeded",
      `command ${JSON.stringify(command[0])} timed out after ${timeoutMs / 1000} s`,
    );
  }
  const exitCode = result.outcome === "signaled" ? 128 + result.status : result.status;
  return {
    stdout: result.stdout,
    stderr: withDropped(result.stderr, result.droppedBytes, request.maxOutput),
    exitCode,
  };
}

function withDropped(stderr: Buffer, dropped: number, limit: number): Buffer {
  if (dropped === 0) return stderr;
  return Buffer.concat([stderr, Buffer.from(`\n[${dropped} bytes of output dropped: the limit is ${limit}]\n`)]);
}

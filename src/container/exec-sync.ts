import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DomainError, invalidArgument } from "../lib/errors.ts";
import { newId } from "../lib/ids.ts";
import { execArgs } from "../oci/handler.ts";
import type { OciProcess } from "../oci/spec/types.ts";
import type { Handlers } from "../sandbox/handlers.ts";
import type { Monitors } from "../sandbox/monitors.ts";
import type { Paths } from "../sandbox/paths.ts";
import { explained, monitorEnvironment } from "../sandbox/runtime-calls.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import type { Container } from "./container.ts";

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

const RUNTIME_MS = 60_000;
/** A frame of the monitor's protocol holds 256 KiB in all. */
const MAX_IN_FRAME = 192 << 10;

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
  if (command.length === 0) throw invalidArgument("cmd is empty: nothing to execute");
  const { handler } = ports.handlers.require(sandbox.runtimeHandler);
  const monitor = ports.monitors.require(sandbox.id);
  const process = await readProcess(ports.paths, container.id);
  await using file = await processFile(ports.paths, container.id, { ...process, args: command, terminal: false });
  const request = {
    argv: execArgs(handler, {
      id: container.id,
      processFile: file.path,
      pidFile: "@pid-file",
      log: "@log",
      detach: true,
    }),
    env: monitorEnvironment,
    process: file.bytes,
    timeoutMs,
    deadlineMs: RUNTIME_MS,
    maxOutput: ports.execs.maxOutputBytes,
  };
  const result = await explained(`${handler.name} exec`, () => monitor.execSync(container.id, request, signal));
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

interface ProcessFile extends AsyncDisposable {
  readonly path: string;
  readonly bytes: Buffer;
}

/** The monitor writes what fits into a frame; a longer one lies in the bundle while the command runs. */
async function processFile(paths: Paths, id: string, process: OciProcess): Promise<ProcessFile> {
  const text = Buffer.from(JSON.stringify(process));
  if (text.length <= MAX_IN_FRAME) return { path: "@process", bytes: text, [Symbol.asyncDispose]: async () => {} };
  const path = join(paths.bundle(id), `exec-${newId()}.json`);
  await writeFile(path, text, { mode: 0o600 });
  return { path, bytes: Buffer.alloc(0), [Symbol.asyncDispose]: () => rm(path, { force: true }) };
}

async function readProcess(paths: Paths, id: string): Promise<OciProcess> {
  return JSON.parse(await readFile(join(paths.bundle(id), "process.json"), "utf8"));
}

function withDropped(stderr: Buffer, dropped: number, limit: number): Buffer {
  if (dropped === 0) return stderr;
  return Buffer.concat([stderr, Buffer.from(`\n[${dropped} bytes of output dropped: the limit is ${limit}]\n`)]);
}

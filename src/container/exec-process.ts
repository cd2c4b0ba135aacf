import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { newId } from "../lib/ids.ts";
import type { Monitor } from "../monitor/monitor.ts";
import type { PipeOwner } from "../monitor/protocol.ts";
import { execArgs } from "../oci/handler.ts";
import { execProcess } from "../oci/spec/exec.ts";
import type { OciProcess } from "../oci/spec/types.ts";
import type { HandlerEntry } from "../sandbox/handlers.ts";
import type { Paths } from "../sandbox/paths.ts";
import { monitorEnvironment } from "../sandbox/runtime-calls.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { rootOf } from "../sandbox/users.ts";

/** How long a runtime may take to start a process. */
const RUNTIME_MS = 60_000;
/** A frame of the monitor's protocol holds 256 KiB in all. */
const MAX_IN_FRAME = 192 << 10;
/** The version of the monitor's protocol. */
const CGROUPS_SINCE = 2;

/** How a monitor has a runtime run a process in a container. Holds the process document; to be disposed once it runs. */
export interface ExecCall extends AsyncDisposable {
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly deadlineMs: number;
  readonly process: Buffer;
  readonly owner: PipeOwner;
}

export interface ExecChoice {
  readonly command: readonly string[];
  readonly tty: boolean;
}

interface ExecPlace {
  readonly sandbox: Sandbox;
  readonly id: string;
  readonly monitor: Pick<Monitor, "hello">;
}

/** The command runs as the container's first process does: user, environment, capabilities, working directory. */
export async function execCall(
  paths: Paths,
  { handler, execCgroups }: Pick<HandlerEntry, "handler" | "execCgroups">,
  { sandbox, id, monitor }: ExecPlace,
  { command, tty }: ExecChoice,
): Promise<ExecCall> {
  const process = execProcess(await readProcess(paths, id), command, tty);
  const file = await processFile(paths, id, process);
  const root = rootOf(sandbox.config);
  const ownCgroup = execCgroups && (monitor.hello?.version ?? 1) >= CGROUPS_SINCE;
  const options = { id, processFile: file.path, pidFile: "@pid-file", log: "@log", detach: true, ownCgroup };
  const argv = execArgs(handler, tty ? { ...options, consoleSocket: "@console" } : options);
  return {
    argv,
    env: monitorEnvironment,
    deadlineMs: RUNTIME_MS,
    process: file.bytes,
    owner: { uid: root.uid + process.user.uid, gid: root.gid + process.user.gid },
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  };
}

interface ProcessFile extends AsyncDisposable {
  readonly path: string;
  readonly bytes: Buffer;
}

/** The monitor writes what fits into a frame; a longer one lies in the bundle while the command is started. */
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

import { isAbsolute, join } from "node:path";
import { getSystemErrorMessage, getSystemErrorName } from "node:util";
import type { Operation, Operations, RunRequest, RunResult } from "../launcher/operations.ts";
import { DomainError, type ErrorKind, hasCode, isExhausted } from "../lib/errors.ts";
import type { Monitor } from "../monitor/monitor.ts";
import { MonitorError } from "../monitor/monitor-error.ts";
import type { CreateExtras, MonitorErrorCode } from "../monitor/protocol.ts";
import { createArgs, deleteArgs, type RuntimeHandler, runtimeError, startArgs, updateArgs } from "../oci/handler.ts";
import type { OciResources } from "../oci/spec/types.ts";
import type { Process } from "./process.ts";

export interface CreateCall {
  readonly id: string;
  readonly bundle: string;
  /** Empty: output is discarded. */
  readonly logPath: string;
  readonly uid: number;
  readonly gid: number;
  /** Standard input can be attached to; otherwise it is /dev/null. */
  readonly stdin: boolean;
  /** Its input ends with that of the first client. */
  readonly stdinOnce?: boolean;
  /** As `process.terminal` of the bundle says. */
  readonly terminal?: boolean;
  /** Where the kernel counts kills for memory; absent: none are told. */
  readonly memoryCgroup?: string;
  readonly extras?: CreateExtras;
}

const DEADLINE_MS = 100_000;
const UPDATE_MS = 30_000;
const FORGET_MS = 10_000;
const SIGKILL = 9;

/** All that an OCI runtime, and so a container's first process, may inherit. */
export const runtimeEnvironment: Readonly<Record<string, string>> = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
};

/** The same in a monitor's form. */
export const monitorEnvironment: readonly string[] = Object.entries(runtimeEnvironment).map(
  ([name, value]) => `${name}=${value}`,
);

/**
 * `runtime create`, under the sandbox's monitor. Throws what the runtime said; then nothing of the container runs.
 * Aborting kills the runtime, or what it has made by then.
 */
export async function createProcess(
  monitor: Monitor,
  handler: RuntimeHandler,
  call: CreateCall,
  signal?: AbortSignal,
): Promise<Process> {
  const { id, bundle } = call;
  const files = { id, bundle, pidFile: "@pid-file", log: "@log" };
  const argv = createArgs(handler, call.terminal === true ? { ...files, consoleSocket: "@console" } : files);
  // A monitor that cannot be told ends it at the deadline.
  const kill = () => void signalProcess(monitor, id, SIGKILL).catch(() => {});
  signal?.addEventListener("abort", kill);
  try {
    return await explained(
      `${handler.name} create`,
      () => monitor.create(id, { ...call, cwd: bundle, argv, env: monitorEnvironment, deadlineMs: DEADLINE_MS }),
      monitor,
    );
  } catch (error) {
    signal?.throwIfAborted();
    throw isLogRefused(error) ? logRefused(error) : error;
  } finally {
    signal?.removeEventListener("abort", kill);
  }
}

/** The monitor opens the log before it runs the runtime. */
function isLogRefused(error: unknown): error is MonitorError {
  return error instanceof MonitorError && error.monitorCode === "SYSCALL" && error.what === "log";
}

function logRefused(error: MonitorError): DomainError {
  const code = getSystemErrorName(-error.errno);
  const kind = isExhausted(error) ? "resourceExhausted" : "invalidArgument";
  const why = code === "ELOOP" ? "it is a symbolic link (ELOOP)" : `${getSystemErrorMessage(-error.errno)} (${code})`;
  return new DomainError(kind, `config.log_path: ${error.path} cannot be opened: ${why}`, { cause: error });
}

/** Sends a signal to a container's first process. It has ended, whether we know that yet or not: nothing to do. */
export async function signalProcess(monitor: Monitor, id: string, number: number): Promise<void> {
  try {
    await monitor.signal(id, number);
  } catch (error) {
    if (!(error instanceof MonitorError) || error.monitorCode !== "WRONG_STATE") throw error;
  }
}

/** `runtime start`; resolves with the time of it. */
export async function startProcess(monitor: Monitor, handler: RuntimeHandler, id: string): Promise<Temporal.Instant> {
  const argv = startArgs(handler, { id, log: "@log" });
  const startedNs = await explained(`${handler.name} start`, () =>
    monitor.start(id, { argv, env: monitorEnvironment, deadlineMs: DEADLINE_MS }),
  );
  return Temporal.Instant.fromEpochNanoseconds(startedNs);
}

/** A container's output goes to a new file at the path of its log from now on. A monitor that cannot do it goes on with the old one. */
export async function reopenLog(monitor: Monitor, id: string): Promise<void> {
  await explained(`reopening the log of container ${id}`, () => monitor.reopenLog(id));
}

/**
 * `runtime delete --force`: kills what is left of the container and forgets it. Absent: nothing to do. A runtime that
 * was uninstalled is done without: the caller has to kill what is in the container's cgroup all the same. Run by the
 * launcher and not the monitor, so that it works when the monitor is lost, too.
 */
export async function deleteProcess(operations: Operations, handler: RuntimeHandler, id: string): Promise<void> {
  const what = `${handler.name} delete`;
  const argv = deleteArgs(handler, { id, log: "/dev/stderr", force: true });
  const request = { owner: id, what, deadlineMs: DEADLINE_MS, argv, env: runtimeEnvironment };
  const result = await runIfInstalled(operations, handler, request);
  if (result === undefined) return forgetProcess(operations, handler, id);
  if (result.outcome === "exited" && result.status === 0) return;
  const text = runtimeError(result.stderr.toString());
  if (/does not exist|no such file or directory/i.test(text)) return;
  const how = result.outcome === "timedOut" ? "did not finish in time" : `failed: ${text}`;
  throw new DomainError("unavailable", `${what} of ${id} ${how}`);
}

/**
 * `runtime update`. The runtime may have changed some of them when this throws. Run by the launcher: what a killed daemon
 * began ends with it, before the next one touches the container.
 */
export async function updateProcess(
  operations: Operations,
  handler: RuntimeHandler,
  id: string,
  resources: Omit<OciResources, "devices">,
): Promise<void> {
  const what = `${handler.name} update`;
  const argv = updateArgs(handler, { id, log: "/dev/stderr" });
  const stdin = Buffer.from(JSON.stringify(resources));
  const request = { owner: id, what, deadlineMs: UPDATE_MS, argv, env: runtimeEnvironment, stdin };
  const { outcome, status, stderr } = await operations.run(request);
  if (outcome === "exited" && status === 0) return;
  if (outcome === "timedOut")
    throw new DomainError("deadlineExceeded", `${what} did not finish within ${UPDATE_MS / 1000} s`);
  throw new DomainError("internal", `${what} failed: ${runtimeError(stderr.toString())}`);
}

/** Undefined when there is no such executable (any more). */
async function runIfInstalled(
  operations: Operations,
  { path }: RuntimeHandler,
  request: RunRequest,
): Promise<RunResult | undefined> {
  if (!isAbsolute(path)) return undefined;
  try {
    return await operations.run(request);
  } catch (error) {
    if (hasCode(error, "ENOENT") || hasCode(error, "EACCES") || hasCode(error, "ENOEXEC")) return undefined;
    throw error;
  }
}

/** What the runtime would forget, had it not been uninstalled. */
async function forgetProcess(operations: Operations, { name, root }: RuntimeHandler, id: string): Promise<void> {
  const remove: Operation = { op: "rmtree", path: join(root, id) };
  await operations.perform([remove], { owner: id, what: `removing the state of ${name}`, deadlineMs: FORGET_MS });
}

/**
 * Turns what a monitor says of a failure into a sentence, with the runtime's own words where it has said something.
 * `monitor` is named where it is too old for the call.
 */
export async function explained<T>(what: string, call: () => Promise<T>, monitor?: Pick<Monitor, "hello">): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof MonitorError)) throw error;
    if (error.monitorCode === "UNSUPPORTED" && monitor !== undefined) throw outdated(what, monitor, error);
    const kind = kinds[error.monitorCode];
    if (kind === undefined) throw error;
    const detail =
      kind === "failedPrecondition" ? `: the container is ${error.what}` : ` failed: ${runtimeError(error.what)}`;
    throw new DomainError(kind, `${what}${detail}`, { cause: error });
  }
}

function outdated(what: string, { hello }: Pick<Monitor, "hello">, cause: MonitorError): DomainError {
  const text = `${what}: the pod's monitor was started by an earlier nacelle (${hello?.build ?? "unknown"}), which cannot do that (${cause.what}): create the pod anew`;
  return new DomainError("failedPrecondition", text, { cause });
}

/** What a caller can do about it; all else is not his concern. */
const kinds: Partial<Readonly<Record<MonitorErrorCode, ErrorKind>>> = {
  RUNTIME_FAILED: "internal",
  TIMEOUT: "deadlineExceeded",
  WRONG_STATE: "failedPrecondition",
  LIMIT: "resourceExhausted",
  BUSY: "unavailable",
  LOST: "unavailable",
};

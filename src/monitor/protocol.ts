/** Messages of the monitor, as pure functions between values and payloads; native/README.md is their specification. */

import { PayloadReader, PayloadWriter } from "../lib/wire.ts";

export const MESSAGE = {
  hello: 0x0101,
  snapshot: 0x0301,
  create: 0x0302,
  start: 0x0303,
  runtime: 0x0304,
  signal: 0x0305,
  exec: 0x0306,
  logReopen: 0x0307,
  ackExit: 0x0308,
  release: 0x0309,
  shutdown: 0x030a,
  attach: 0x0310,
  resize: 0x0311,
  execStream: 0x0312,
  stdinClose: 0x0313,
  netConnect: 0x0314,
  input: 0x0316,
} as const;

export const EVENT = {
  exit: 0x4301,
  execOutput: 0x4303,
  logError: 0x4304,
  logRecovered: 0x4305,
  execExit: 0x4306,
  gap: 0x4309,
  attachEnd: 0x430a,
} as const;

/** Why the monitor refused or failed; LOST and MALFORMED_REPLY are found on this side. */
export type MonitorErrorCode = (typeof ERROR_CODES)[number] | "LOST" | "MALFORMED_REPLY";

const ERROR_CODES = [
  "UNKNOWN",
  "MALFORMED",
  "UNSUPPORTED",
  "SYSCALL",
  "TIMEOUT",
  "STALE_EPOCH",
  "NO_SUCH",
  "WRONG_STATE",
  "BUSY",
  "RUNTIME_FAILED",
  "LIMIT",
  "CANCELLED",
] as const;

const STATES = ["creating", "created", "starting", "running", "exited"] as const;

/** A container as its monitor sees it. Times are CLOCK_REALTIME in nanoseconds, 0 where it has not come to that. */
export interface MonitoredContainer {
  readonly id: string;
  readonly state: (typeof STATES)[number];
  readonly pid: number;
  /** Field 22 of /proc/PID/stat, decimal: with the pid it names one process within a boot. */
  readonly startTime: string;
  /** CLD_EXITED 1, CLD_KILLED 2, CLD_DUMPED 3; 0 while it lives, and when nobody knows how it ended. */
  readonly siCode: number;
  /** The exit code or the signal, as `siCode` says. */
  readonly siStatus: number;
  readonly createdNs: bigint;
  readonly startedNs: bigint;
  readonly exitedNs: bigint;
  readonly oomKills: bigint;
  readonly logLostBytes: bigint;
  /** The daemon has said that it stored the exit. */
  readonly acked: boolean;
}

/** How to run an OCI runtime. In `argv`, "@pid-file", "@log" and "@process" stand for files of the monitor's. */
export interface RuntimeCall {
  /** `argv[0]` is an absolute path. */
  readonly argv: readonly string[];
  /** "NAME=value"; nothing else is inherited. */
  readonly env: readonly string[];
  /** 1 to 3,600,000. */
  readonly deadlineMs: number;
}

export interface CreateRequest extends RuntimeCall {
  readonly cwd: string;
  /** Absolute; empty: output is discarded. */
  readonly logPath: string;
  /** Owner of the container's stdio pipes, in the host's ids. */
  readonly uid: number;
  readonly gid: number;
  /** Standard input can be attached to; else it is /dev/null, or a terminal that nobody types at. */
  readonly stdin: boolean;
  /** It ends with the input of the first client that attached to it. */
  readonly stdinOnce?: boolean;
  /** Input and output are a terminal: `process.terminal` is set, and the runtime is given "@console" as its console socket. */
  readonly terminal?: boolean;
  /** Directory whose kills for memory are counted in `oomKills`; absent: none are told. */
  readonly memoryCgroup?: string;
}

export interface ExecRequest extends RuntimeCall {
  /** Of the process, from its start; 0: none. */
  readonly timeoutMs: number;
  /** Bytes of stdout and stderr together; what is above is counted and dropped. */
  readonly maxOutput: number;
  /** The OCI process document, for "@process". */
  readonly process: Buffer;
  readonly owner?: PipeOwner;
}

/** Who may open the process's standard streams again, in the host's ids; without it, whom the runtime gives them to. */
export interface PipeOwner {
  readonly uid: number;
  readonly gid: number;
}

export interface HelloReply {
  readonly version: number;
  readonly pid: number;
  readonly startTime: string;
  readonly build: string;
  readonly sandboxId: string;
  readonly epoch: bigint;
}

export type Outcome = "exited" | "signaled" | "timedOut" | "cancelled";
export const OUTCOMES: readonly Outcome[] = ["exited", "signaled", "timedOut", "cancelled"];

export interface RuntimeResult {
  readonly outcome: Outcome;
  /** The exit code or the signal, as `outcome` says. */
  readonly status: number;
  readonly truncated: boolean;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

export interface ExecEnd {
  readonly outcome: Outcome;
  readonly status: number;
  readonly dropped: bigint;
}

export interface ErrorReply {
  readonly code: MonitorErrorCode;
  readonly errno: number;
  readonly what: string;
  readonly path: string;
}

export function encodeHello(epoch: bigint, kind: "control" | "data"): Buffer {
  return new PayloadWriter()
    .u16(1)
    .u16(1)
    .u64(epoch)
    .u8(kind === "control" ? 1 : 2)
    .done();
}

export function encodeCreate(id: string, request: CreateRequest): Buffer {
  const writer = new PayloadWriter().str(id).u32(request.deadlineMs).str(request.cwd);
  writer.strings(request.argv).strings(request.env).str(request.logPath);
  return writer
    .u32(request.uid)
    .u32(request.gid)
    .u16((request.stdin ? 1 : 0) | (request.stdinOnce === true ? 2 : 0) | (request.terminal === true ? 4 : 0))
    .str(request.memoryCgroup ?? "")
    .done();
}

export function encodeStart(id: string, call: RuntimeCall): Buffer {
  return new PayloadWriter().str(id).u32(call.deadlineMs).strings(call.argv).strings(call.env).done();
}

export function encodeRuntime(cwd: string, call: RuntimeCall): Buffer {
  return new PayloadWriter().u32(call.deadlineMs).str(cwd).strings(call.argv).strings(call.env).done();
}

export function encodeSignal(id: string, signal: number): Buffer {
  return new PayloadWriter().str(id).u32(signal).done();
}

export function encodeExec(id: string, request: ExecRequest): Buffer {
  const writer = new PayloadWriter().str(id).u32(request.timeoutMs).u32(request.deadlineMs);
  writer.u64(BigInt(request.maxOutput)).strings(request.argv).strings(request.env).bytes(request.process);
  return putOwner(writer, request.owner).done();
}

export function putOwner(writer: PayloadWriter, owner: PipeOwner | undefined): PayloadWriter {
  return owner === undefined ? writer : writer.u32(owner.uid).u32(owner.gid);
}

/** LOG_REOPEN, ACK_EXIT and RELEASE. */
export function encodeId(id: string): Buffer {
  return new PayloadWriter().str(id).done();
}

export function decodeHello(payload: Buffer): HelloReply {
  const r = new PayloadReader(payload);
  const reply = {
    version: r.u16(),
    pid: r.u32(),
    startTime: r.u64().toString(),
    build: r.str(),
    sandboxId: r.str(),
    epoch: r.u64(),
  };
  r.list((reader) => reader.str()); // the launcher's alone
  return reply;
}

export function decodeSnapshot(payload: Buffer): MonitoredContainer[] {
  return new PayloadReader(payload).list(readContainer);
}

/** The payload of an EXIT event. */
export function decodeContainer(payload: Buffer): MonitoredContainer {
  return readContainer(new PayloadReader(payload));
}

export function decodeCreated(payload: Buffer): { readonly pid: number; readonly startTime: string } {
  const r = new PayloadReader(payload);
  return { pid: r.u32(), startTime: r.u64().toString() };
}

/** START's startedNs, LOG_REOPEN's inode. */
export function decodeU64(payload: Buffer): bigint {
  return new PayloadReader(payload).u64();
}

export function decodeRuntimeResult(payload: Buffer): RuntimeResult {
  const r = new PayloadReader(payload);
  return {
    outcome: OUTCOMES[r.u8()] ?? "cancelled",
    status: r.i32(),
    truncated: r.u8() !== 0,
    stdout: r.bytes(),
    stderr: r.bytes(),
  };
}

export function decodeExecOutput(payload: Buffer): { readonly stream: "stdout" | "stderr"; readonly data: Buffer } {
  const r = new PayloadReader(payload);
  return { stream: r.u8() === 2 ? "stderr" : "stdout", data: r.bytes() };
}

export function decodeExecEnd(payload: Buffer): ExecEnd {
  const r = new PayloadReader(payload);
  return { outcome: OUTCOMES[r.u8()] ?? "cancelled", status: r.i32(), dropped: r.u64() };
}

export function decodeLogError(payload: Buffer): { readonly id: string; readonly errno: number } {
  const r = new PayloadReader(payload);
  return { id: r.str(), errno: r.i32() };
}

export function decodeLogRecovered(payload: Buffer): { readonly id: string; readonly lostBytes: bigint } {
  const r = new PayloadReader(payload);
  return { id: r.str(), lostBytes: r.u64() };
}

export function decodeError(payload: Buffer): ErrorReply {
  const r = new PayloadReader(payload);
  const code = ERROR_CODES[r.u16()] ?? "UNKNOWN";
  const errno = r.i32();
  r.u32();
  return { code, errno, what: r.str(), path: r.str() };
}

function readContainer(r: PayloadReader): MonitoredContainer {
  return {
    id: r.str(),
    state: STATES[r.u8() - 1] ?? "creating",
    pid: r.u32(),
    startTime: r.u64().toString(),
    siCode: r.i32(),
    siStatus: r.i32(),
    createdNs: r.u64(),
    startedNs: r.u64(),
    exitedNs: r.u64(),
    oomKills: r.u64(),
    logLostBytes: r.u64(),
    acked: r.u8() !== 0,
  };
}

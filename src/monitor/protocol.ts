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

/** Monitors of these versions are driven: they outlive the daemons that started them. */
const OLDEST_VERSION = 1;
const NEWEST_VERSION = 2;

export const EVENT = {
  exit: 0x4301,
  oom: 0x4302,
  execOutput: 0x4303,
  logError: 0x4304,
  logRecovered: 0x4305,
  execExit: 0x4306,
  health: 0x4307,
  gap: 0x4309,
  attachEnd: 0x430a,
  logLimit: 0x430b,
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
  /** Since version 2; older monitors ignore it. */
  readonly extras?: CreateExtras;
  /** Directory whose kills for memory are counted in `oomKills`; absent: none are told. */
  readonly memoryCgroup?: string;
}

export interface CreateExtras {
  /** Absolute path of a second exit record that outlives a reboot; empty: none. At most 383 bytes. */
  readonly recordCopy: string;
  readonly log: LogLimits;
  /** Absolute directory of the container's cgroup in a v2 hierarchy, below which its execs get theirs; empty: none. */
  readonly cgroup: string;
}

export const NO_EXTRAS: CreateExtras = {
  ...{ recordCopy: "", cgroup: "" },
  log: { soft: 0, hard: 0, policy: "drop", rate: 0 },
};

/** Limits on the log file that is written now; a new one begins with LOG_REOPEN. */
export interface LogLimits {
  /** Bytes at which a LOG_LIMIT is told; 0: none. */
  readonly soft: number;
  /** Bytes at which `policy` begins; 0: none. */
  readonly hard: number;
  readonly policy: (typeof LOG_POLICIES)[number];
  /** Bytes per second that are read beyond `hard`, for "rate". */
  readonly rate: number;
}

const LOG_POLICIES = ["drop", "block", "rate"] as const;

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
    .u16(OLDEST_VERSION)
    .u16(NEWEST_VERSION)
    .u64(epoch)
    .u8(kind === "control" ? 1 : 2)
    .done();
}

export function encodeCreate(id: string, request: CreateRequest): Buffer {
  const writer = new PayloadWriter().str(id).u32(request.deadlineMs).str(request.cwd);
  writer.strings(request.argv).strings(request.env).str(request.logPath);
  writer
    .u32(request.uid)
    .u32(request.gid)
    .u16((request.stdin ? 1 : 0) | (request.stdinOnce === true ? 2 : 0) | (request.terminal === true ? 4 : 0))
    .str(request.memoryCgroup ?? "");
  return (request.extras === undefined ? writer : putExtras(writer, request.extras)).done();
}

function putExtras(writer: PayloadWriter, { recordCopy, log, cgroup }: CreateExtras): PayloadWriter {
  writer.str(recordCopy).u64(BigInt(log.soft)).u64(BigInt(log.hard));
  return writer.u8(LOG_POLICIES.indexOf(log.policy)).u64(BigInt(log.rate)).str(cgroup);
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

export function decodeError(payload: Buffer): ErrorReply {
  const r = new PayloadReader(payload);
  const code = ERROR_CODES[r.u16()] ?? "UNKNOWN";
  const errno = r.i32();
  r.u32();
  return { code, errno, what: r.str(), path: r.str() };
}

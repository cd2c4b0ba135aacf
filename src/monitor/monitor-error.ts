import { describeErrno } from "../lib/errno.ts";
import type { ErrorReply, MonitorErrorCode } from "./protocol.ts";

/** A request that the monitor refused, could not do, or never answered. */
export class MonitorError extends Error {
  override readonly name = "MonitorError";
  readonly monitorCode: MonitorErrorCode;
  /** Of the failed system call, as in Node's own errors ("ENOSPC"); else undefined. */
  readonly code: string | undefined;
  /** Of the failed system call; with RUNTIME_FAILED the runtime's exit code; else 0. */
  readonly errno: number;
  /** What failed; with RUNTIME_FAILED and TIMEOUT the tail of the runtime's log, a line feed, the tail of its stderr. */
  readonly what: string;
  readonly path: string;

  constructor(request: string, reply: ErrorReply) {
    const where = reply.path === "" ? "" : ` on ${reply.path}`;
    const code = reply.code === "SYSCALL" ? describeErrno(reply.errno).code : undefined;
    super(`monitor: ${request}: ${reply.code} (${code ?? reply.errno})${where}: ${reply.what.trim()}`);
    this.monitorCode = reply.code;
    this.code = code;
    this.errno = reply.errno;
    this.what = reply.what;
    this.path = reply.path;
  }
}

export function isMonitorError(error: unknown, code: MonitorErrorCode): boolean {
  return error instanceof MonitorError && error.monitorCode === code;
}

/** The monitor or the connection to it is gone, or did not answer in time. */
export function lost(request: string, why: string): MonitorError {
  return new MonitorError(request, { code: "LOST", errno: 0, what: why, path: "" });
}

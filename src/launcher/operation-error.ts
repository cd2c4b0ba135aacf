import { describeErrno } from "../lib/errno.ts";

/** Where an operation of the launcher failed. */
export interface OperationFailure {
  /** Linux errno; 0 when there is none. */
  readonly errno: number;
  /** The system call, or what else failed. */
  readonly syscall: string;
  readonly path: string;
  /** Which operation of the list. */
  readonly index: number;
}

/** A system call that failed on behalf of the daemon. `code` is as in Node's own errors ("ENOENT"). */
export class OperationError extends Error {
  override readonly name = "OperationError";
  readonly code: string;
  readonly syscall: string;
  readonly path: string;
  readonly index: number;

  constructor(message: string, code: string, failure: Omit<OperationFailure, "errno">) {
    super(message);
    this.code = code;
    this.syscall = failure.syscall;
    this.path = failure.path;
    this.index = failure.index;
  }

  /** "mount of the root file system: mount /a/b: no such file or directory (ENOENT)", and what cures it where that is known. */
  static failed(what: string, failure: OperationFailure): OperationError {
    const { code, text } = describeErrno(failure.errno);
    const call = failure.path === "" ? failure.syscall : `${failure.syscall} ${failure.path}`;
    const why = text === "" ? code : `${text} (${code})`;
    return new OperationError(`${what}: ${call}: ${why}${remedyOf(code, failure.syscall)}`, code, failure);
  }

  /** "mount of the root file system did not finish within 10 s". */
  static timedOut(what: string, deadlineMs: number, index: number): OperationError {
    const message = `${what} did not finish within ${deadlineMs / 1000} s`;
    return new OperationError(message, "ETIMEDOUT", { syscall: "", path: "", index });
  }
}

function remedyOf(code: string, syscall: string): string {
  // No disk is full when a namespace has as many mounts as it may.
  const remedy = remedies.get(`${code} ${syscall}`) ?? remedies.get(code);
  return remedy === undefined ? "" : `: ${remedy}`;
}

const remedies: ReadonlyMap<string, string> = new Map([
  ["ENOSPC", "free space or inodes on its file system"],
  ["ENOSPC mount", "the node has too many mounts: remove pods, or raise the sysctl fs.mount-max"],
  ["EDQUOT", "free space on its file system, or raise its quota"],
  ["EROFS", "mount its file system read-write"],
  ["ENOMEM", "free memory on the node"],
  ["EIO", "look for a failing disk in the kernel's log"],
]);

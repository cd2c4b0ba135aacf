import { getSystemErrorMessage, getSystemErrorName } from "node:util";

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

  /** "mount of the root file system: mount /a/b: no such file or directory (ENOENT)". */
  static failed(what: string, failure: OperationFailure): OperationError {
    const [code, text] = describe(failure.errno);
    const call = failure.path === "" ? failure.syscall : `${failure.syscall} ${failure.path}`;
    return new OperationError(`${what}: ${call}${text}`, code, failure);
  }

  /** "mount of the root file system did not finish within 10 s". */
  static timedOut(what: string, deadlineMs: number, index: number): OperationError {
    const message = `${what} did not finish within ${deadlineMs / 1000} s`;
    return new OperationError(message, "ETIMEDOUT", { syscall: "", path: "", index });
  }
}

/** Name and text; libuv, which knows both, does not know every errno. */
function describe(errno: number): [code: string, text: string] {
  try {
    const code = getSystemErrorName(-errno);
    return [code, `: ${getSystemErrorMessage(-errno)} (${code})`];
  } catch {
    return [`errno ${errno}`, `: errno ${errno}`];
  }
}

/**
 * What went wrong, in the caller's terms. The set is closed: `server/status.ts`
 * maps every kind to exactly one gRPC code.
 */
export type ErrorKind =
  | "invalidArgument"
  | "notFound"
  | "alreadyExists"
  | "failedPrecondition"
  | "resourceExhausted"
  | "unavailable"
  | "deadlineExceeded"
  | "unimplemented"
  | "internal";

type Fields = Readonly<Record<string, string | number | boolean>>;

/** The one error the domain throws on purpose; any other error is a bug or an I/O failure. */
export class DomainError extends Error {
  override readonly name = "DomainError";
  readonly kind: ErrorKind;
  readonly fields: Fields;

  constructor(kind: ErrorKind, message: string, options: { fields?: Fields; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.kind = kind;
    this.fields = options.fields ?? {};
  }
}

export function invalidArgument(message: string, fields: Fields = {}): DomainError {
  return new DomainError("invalidArgument", message, { fields });
}

export function notFound(resource: string, id: string): DomainError {
  return new DomainError("notFound", `${resource} ${JSON.stringify(id)} not found`, { fields: { resource, id } });
}

export function failedPrecondition(message: string, fields: Fields = {}): DomainError {
  return new DomainError("failedPrecondition", message, { fields });
}

/** True for Node's own errors and for ours; the only way the code base asks "which errno?". */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

const exhausted = ["ENOSPC", "EDQUOT", "ENOMEM", "EAGAIN", "EMFILE", "ENFILE"];

/** A system call failed for want of space, memory, processes or files: it passes when others give theirs back. */
export function isExhausted(error: unknown): boolean {
  return exhausted.some((code) => hasCode(error, code));
}

/** What an error says of itself that nobody classified by hand: ours, a limit of time, a want of resources; else undefined. */
export function kindOf(error: unknown): ErrorKind | undefined {
  if (error instanceof DomainError) return error.kind;
  if (hasCode(error, "ETIMEDOUT")) return "deadlineExceeded";
  return isExhausted(error) ? "resourceExhausted" : undefined;
}

/** The text of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

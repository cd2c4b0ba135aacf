import { type ServiceError, status } from "@grpc/grpc-js";
import { type ErrorKind, kindOf, messageOf } from "../lib/errors.ts";

/** A status travels in one HTTP/2 header block; clients may refuse more than 8 KiB of it, percent-encoding included. */
const MAX_MESSAGE_BYTES = 8 * 1024 - 512;

const codes = {
  invalidArgument: status.INVALID_ARGUMENT,
  notFound: status.NOT_FOUND,
  alreadyExists: status.ALREADY_EXISTS,
  failedPrecondition: status.FAILED_PRECONDITION,
  resourceExhausted: status.RESOURCE_EXHAUSTED,
  unavailable: status.UNAVAILABLE,
  deadlineExceeded: status.DEADLINE_EXCEEDED,
  unimplemented: status.UNIMPLEMENTED,
  internal: status.INTERNAL,
} as const satisfies Record<ErrorKind, status>;

/** The only place where an error becomes a gRPC status. Whatever was thrown, the result can be sent. */
export function toStatus(error: unknown): Pick<ServiceError, "code" | "details"> {
  return { code: codeOf(error), details: bounded(textOf(error), MAX_MESSAGE_BYTES) };
}

function codeOf(error: unknown): status {
  const kind = kindOf(error);
  if (kind !== undefined) return codes[kind];
  if (error instanceof SuppressedError) return codeOf(error.suppressed);
  // Of several that failed together; their texts are in its own.
  if (error instanceof AggregateError) return codeOf(error.errors[0]);
  if (error instanceof DOMException && error.name === "TimeoutError") return status.DEADLINE_EXCEEDED;
  if (error instanceof Error && error.name === "AbortError") return status.CANCELLED;
  if (isSystemError(error)) return status.INTERNAL;
  return status.UNKNOWN; // what Go servers answer for an error that nobody classified
}

/** A system call failed, here or in a child; Node's own codes begin with "ERR_". */
function isSystemError(error: unknown): boolean {
  return error instanceof Error && "code" in error && /^(E[A-Z0-9]+|errno \d+)$/.test(String(error.code));
}

/** What failed first, then what failed while that was undone. */
function textOf(error: unknown): string {
  if (!(error instanceof SuppressedError)) return messageOf(error);
  return `${textOf(error.suppressed)}; while undoing: ${textOf(error.error)}`;
}

/**
 * The longest prefix whose percent-encoded form fits, whole characters only. grpc-js encodes with
 * encodeURI, which throws at half a surrogate pair: such halves are replaced.
 */
function bounded(text: string, limit: number): string {
  // Every UTF-16 unit takes at least one byte, so what lies beyond the limit cannot fit anyway.
  const candidate = text.slice(0, limit + 1).toWellFormed();
  if (text.length <= limit && encodeURI(candidate).length <= limit) return candidate;
  const ending = " [cut]";
  let size = ending.length + 2; // its brackets may be encoded: "%5B" for "["
  let end = 0;
  for (const character of candidate) {
    size += encodeURI(character).length;
    if (size > limit - ending.length) break;
    end += character.length;
  }
  return candidate.slice(0, end) + ending;
}

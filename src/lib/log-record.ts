import { DomainError } from "./errors.ts";

/** What may be said with a line. Undefined members are left out. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Names of fields whose values are never written, whoever passes them. */
const secretName = /pass(word|wd)?$|secret|token|authorization|credential|^auth$/i;

/** A value longer than this is cut: a line has to stay readable, and a hostile client chooses some of them. */
const maxValueLength = 1024;

/** Everything of one line, as text or number: bounded, without secrets, errors spelled out. */
export function plainFields(fields: LogFields): Record<string, string | number | boolean> {
  const plain: Record<string, string | number | boolean> = {};
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    plain[key] = secretName.test(key) ? "[hidden]" : plainValue(value);
    if (value instanceof DomainError) plain[`${key}.kind`] = value.kind;
  }
  return plain;
}

/** `key=value` pairs; a value with a space, a quote or a control character is written as a JSON string. */
export function toLogfmt(fields: Readonly<Record<string, string | number | boolean>>): string {
  return Object.entries(fields)
    .map(([key, value]) => `${key}=${quoted(String(value))}`)
    .join(" ");
}

function plainValue(value: unknown): string | number | boolean {
  if (typeof value === "number" || typeof value === "boolean") return value;
  return withoutCredentials(bounded(textOf(value)));
}

function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  if (value instanceof Error) return causes(value);
  if (value instanceof Temporal.Instant || value instanceof Temporal.Duration) return value.toString();
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  try {
    return typeof value === "object" ? JSON.stringify(value) : String(value);
  } catch {
    return String(value); // a cycle or a bigint: the line matters more than its value
  }
}

/** "message: cause: cause's cause", without repeating what a message already says. */
function causes(error: Error): string {
  let text = error.message === "" ? error.name : error.message;
  let { cause } = error;
  for (let depth = 0; depth < 4 && cause instanceof Error; depth += 1) {
    if (!text.includes(cause.message)) text += `: ${cause.message}`;
    cause = cause.cause;
  }
  return text;
}

function bounded(text: string): string {
  if (text.length <= maxValueLength) return text;
  return `${text.slice(0, maxValueLength)}… (${text.length - maxValueLength} more)`;
}

function withoutCredentials(text: string): string {
  if (!text.includes("://") || !text.includes("@")) return text;
  return text.replaceAll(/:\/\/[^/@\s]{1,256}@/g, "://[hidden]@");
}

function quoted(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a control character in a value must not reach a terminal
  return text === "" || /[\s"=\\\u0000-\u001f\u007f-\u009f]/.test(text) ? escaped(text) : text;
}

function escaped(text: string): string {
  // JSON leaves DEL and the C1 controls as they are; a terminal obeys them.
  return JSON.stringify(text).replaceAll(/[\u007f-\u009f]/g, (char) => `\\u00${char.charCodeAt(0).toString(16)}`);
}

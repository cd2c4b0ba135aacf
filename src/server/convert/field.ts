import { isIP } from "node:net";
import { DomainError, invalidArgument } from "../../lib/errors.ts";

/** Items of a repeated field. */
const MAX_ITEMS = 100_000;
/** Keys and values of one map together. */
const MAX_MAP_BYTES = 4 * 1024 * 1024;
const MAX_KEY_BYTES = 64 * 1024;
/** A single text that becomes an argument or a path. The kernel takes 128 KiB for an argument. */
const MAX_TEXT_BYTES = 1024 * 1024;
const MAX_PATH_BYTES = 4095;

type Entries = Readonly<Record<string, string>>;

/** `field` is the field's path in the request, in the words of api.proto; the remedy is in `problem`. */
export function refuse(field: string, problem: string): DomainError {
  return invalidArgument(`${field} ${problem}`, { field });
}

/** For what the CRI allows and nacelle does not do. */
export function notImplemented(field: string, what: string): DomainError {
  return new DomainError("unimplemented", `${field}: ${what} not implemented`, { fields: { field } });
}

/** A message field that must be there. */
export function required<T>(field: string, value: T | null | undefined): T {
  if (value === null || value === undefined) throw refuse(field, "is missing");
  return value;
}

/** Any text that may reach the kernel: bounded and without NUL. */
export function text(field: string, value: string): string {
  if (value.includes("\0")) throw refuse(field, "contains a NUL byte");
  if (value.length > MAX_TEXT_BYTES) throw refuse(field, `is longer than ${MAX_TEXT_BYTES} bytes`);
  return value;
}

/** A short text on one line, not empty: names, references. */
export function name(field: string, value: string, maxBytes = 1024): string {
  if (value === "") throw refuse(field, "is empty");
  return line(field, value, maxBytes);
}

/** A short text on one line. */
export function line(field: string, value: string, maxBytes = 1024): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\0-\x1f\x7f]/.test(value)) throw refuse(field, "contains a control character");
  if (Buffer.byteLength(value) > maxBytes) throw refuse(field, `is longer than ${maxBytes} bytes`);
  return value;
}

/** A word that becomes part of a line of some file. */
export function word(field: string, value: string): string {
  if (/\s/.test(name(field, value))) throw refuse(field, "contains white space");
  return value;
}

export function absolutePath(field: string, value: string): string {
  if (value === "") throw refuse(field, "is empty");
  if (!path(field, value).startsWith("/")) throw refuse(field, `must be an absolute path, not ${quoted(value)}`);
  return value;
}

/** A path that stays below where it starts. */
export function path(field: string, value: string): string {
  if (value.includes("\0")) throw refuse(field, "contains a NUL byte");
  if (Buffer.byteLength(value) > MAX_PATH_BYTES) throw refuse(field, `is longer than ${MAX_PATH_BYTES} bytes`);
  return value;
}

export function withoutDotDot(field: string, value: string): string {
  if (value.split("/").includes("..")) throw refuse(field, `must not contain "..": ${quoted(value)}`);
  return value;
}

export function list<T, R>(field: string, items: readonly T[], convert: (field: string, item: T) => R): readonly R[] {
  if (items.length > MAX_ITEMS) throw refuse(field, `has ${items.length} items; at most ${MAX_ITEMS} are taken`);
  return items.map((item, index) => convert(`${field}[${index}]`, item));
}

/** Labels and the like: echoed as they are, therefore only bounded. */
export function map(field: string, entries: Entries): Entries {
  const pairs = Object.entries(entries);
  if (pairs.length > MAX_ITEMS) throw refuse(field, `has ${pairs.length} entries; at most ${MAX_ITEMS} are taken`);
  let bytes = 0;
  for (const [key, value] of pairs) {
    const keyBytes = Buffer.byteLength(key);
    if (keyBytes > MAX_KEY_BYTES)
      throw refuse(field, `has a key of ${keyBytes} bytes; at most ${MAX_KEY_BYTES} are taken`);
    bytes += keyBytes + Buffer.byteLength(value);
  }
  if (bytes > MAX_MAP_BYTES) throw refuse(field, `holds ${bytes} bytes; at most ${MAX_MAP_BYTES} are taken`);
  return Object.fromEntries(pairs);
}

/** An int64 or uint64 as the loader gives it, within the bounds; `min` and `max` are safe integers. */
export function integer(field: string, value: string | number, min: number, max: number): number {
  const number = Number(value);
  if (Number.isSafeInteger(number) && number >= min && number <= max) return number;
  throw refuse(field, `is ${value}; it must be from ${min} to ${max}`);
}

/** An enum's value; numbers are those that the API does not know. */
export function choice<Value extends string, Result>(
  field: string,
  value: Value | number,
  choices: Readonly<Record<Value, Result>>,
): Result {
  if (typeof value === "string" && Object.hasOwn(choices, value)) return choices[value];
  throw refuse(field, `has the unknown value ${value}`);
}

export function ipAddress(field: string, value: string): string {
  // A link-local address may carry its zone.
  if (isIP(value) === 0) throw refuse(field, `is not an IP address: ${quoted(value)}`);
  return value;
}

/** For messages: short, on one line. */
export function quoted(value: string): string {
  return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
}

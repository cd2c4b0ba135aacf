import { DomainError } from "../lib/errors.ts";

/**
 * Rows are JSON, with one addition: a `Temporal.Instant` is written as `{"@instant": "2026-01-01T00:00:00Z"}`.
 * Members whose value is undefined are left out. Anything else that JSON would bend (Map, Buffer, bigint, Date, NaN)
 * is refused, so that what is read back is what was written.
 */
export function encode(value: unknown): string {
  return JSON.stringify(value, replace);
}

/** The inverse of `encode`; throws SyntaxError for anything else. */
export function decode(text: string): unknown {
  // A reviver makes parsing several times slower, and most rows hold no instant.
  return text.includes('"@instant"') ? JSON.parse(text, revive) : JSON.parse(text);
}

// JSON.stringify calls toJSON first, so the value itself has to be taken from its holder.
function replace(this: unknown, key: string, value: unknown): unknown {
  const original = isHolder(this) ? this[key] : value;
  if (original instanceof Temporal.Instant) return { "@instant": original.toString() };
  if (typeof original === "object" && original !== null && !isPlain(original)) {
    throw new DomainError("internal", `a ${original.constructor.name} cannot be stored in ${JSON.stringify(key)}`);
  }
  if (typeof original === "number" && !Number.isFinite(original)) {
    throw new DomainError("internal", `${original} cannot be stored in ${JSON.stringify(key)}`);
  }
  return value;
}

function revive(_key: string, value: unknown): unknown {
  if (!isHolder(value)) return value;
  const instant = value["@instant"];
  return typeof instant === "string" ? Temporal.Instant.from(instant) : value;
}

function isHolder(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === Array.prototype || prototype === null;
}

import { invalidArgument } from "../lib/errors.ts";

/** A JSON object whose members nobody has looked at yet. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Deeper nesting than any real configuration has; it keeps `JSON.stringify` away from the end of the stack. */
const MAX_DEPTH = 64;

/** True for what JSON calls an object: no array, no null. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The object that `text` holds. `what` begins the message of the `invalidArgument` thrown when
 * `text` is longer than `maxLength` characters, is not JSON, is nested too deeply or is no object.
 */
export function parseJsonObject(text: string, maxLength: number, what: string): JsonObject {
  if (text.length > maxLength) throw invalidArgument(`${what} is longer than ${maxLength} characters`);
  if (isTooDeep(text)) throw invalidArgument(`${what} is nested deeper than ${MAX_DEPTH} levels`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's own message quotes the text, which may be long and hold secrets.
    throw invalidArgument(`${what} is not JSON`);
  }
  if (isJsonObject(value)) return value;
  throw invalidArgument(`${what} is not a JSON object`);
}

function isTooDeep(text: string): boolean {
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at);
    if (quoted && char === 0x5c /* \ */) at++;
    else if (char === 0x22 /* " */) quoted = !quoted;
    else if (quoted) continue;
    else if (char === 0x5b || char === 0x7b /* [ { */) depth++;
    else if (char === 0x5d || char === 0x7d /* ] } */) depth--;
    if (depth > MAX_DEPTH) return true;
  }
  return false;
}

import { randomBytes } from "node:crypto";
import { invalidArgument } from "./errors.ts";

/** 64 lower-case hex digits. */
export function newId(): string {
  return randomBytes(32).toString("hex");
}

/**
 * The one id that `text` is or uniquely begins; `undefined` when there is none. Throws `invalidArgument` for a prefix
 * of several, naming two of them.
 */
export function findId(kind: string, text: string, ids: Iterable<string>): string | undefined {
  if (!/^[0-9a-f]{1,64}$/.test(text)) return undefined;
  const found: string[] = [];
  for (const id of ids) {
    if (id === text) return id;
    if (id.startsWith(text)) found.push(id);
  }
  if (found.length > 1) {
    throw invalidArgument(`${kind} id ${text} is ambiguous: ${found.slice(0, 2).join(" and ")} begin with it`);
  }
  return found[0];
}

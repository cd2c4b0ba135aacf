import { notFound } from "../../lib/errors.ts";
import { refuse } from "./field.ts";

type Kind = "sandbox" | "container";

/**
 * An id, or a prefix of one, for calls that need the thing to be there.
 *
 * @throws DomainError `invalidArgument` when it is empty, `notFound` when it cannot be an id of ours
 */
export function id(kind: Kind, field: string, text: string): string {
  const found = idIfAny(field, text);
  if (found === undefined) throw notFound(kind, text.slice(0, 80));
  return found;
}

/**
 * An id for calls that succeed when there is nothing to do: `undefined` when it cannot be an id of ours.
 *
 * @throws DomainError `invalidArgument` when it is empty
 */
export function idIfAny(field: string, text: string): string | undefined {
  if (text === "") throw refuse(field, "is empty");
  return isId(text) ? text : undefined;
}

/** Those whose id begins with `prefix`: one or none. An exact id is one, whatever else begins with it. */
export function byPrefix<T>(
  field: string,
  prefix: string,
  items: readonly T[],
  idOf: (item: T) => string,
): readonly T[] {
  if (!isId(prefix)) return [];
  const matches = items.filter((item) => idOf(item).startsWith(prefix));
  const ids = new Set(matches.map(idOf));
  if (ids.size > 1) throw refuse(field, `${JSON.stringify(prefix)} is ambiguous: ${ids.size} ids begin with it`);
  return matches;
}

function isId(text: string): boolean {
  return /^[0-9a-f]{1,64}$/.test(text);
}

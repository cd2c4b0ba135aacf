import { isDeepStrictEqual } from "node:util";

/**
 * Whether two configurations say the same. A member that is undefined is the same as one that is absent, because one of
 * the two may have been read back from the state, where the undefined are left out; the order of members means nothing.
 */
export function isSameValue(first: unknown, second: unknown): boolean {
  return isDeepStrictEqual(stored(first), stored(second));
}

function stored(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

import { integer } from "./field.ts";

/** A timer of JavaScript counts 31 bits of milliseconds and fires at once beyond them: 24 days. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Seconds of the API as milliseconds for a timer; what is longer than a timer can wait is cut to that. */
export function toMilliseconds(field: string, seconds: string): number {
  return Math.min(integer(field, seconds, 0, Number.MAX_SAFE_INTEGER) * 1000, MAX_TIMER_MS);
}

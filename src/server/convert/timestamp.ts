/** Nanoseconds since 1970 as the API writes them; 0 when it has not happened. */
export function toNanoseconds(instant: Temporal.Instant | undefined): string {
  return instant === undefined ? "0" : instant.epochNanoseconds.toString();
}

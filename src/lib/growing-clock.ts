/**
 * The time, but never the same twice and never back: what is stamped later reads as later, also when somebody sets the
 * machine's clock back. Then it stays a nanosecond ahead of its last answer until the machine's clock has caught up.
 */
export function growingClock(now: () => Temporal.Instant): () => Temporal.Instant {
  let last = -1n;
  return () => {
    const read = now().epochNanoseconds;
    last = read > last ? read : last + 1n;
    return Temporal.Instant.fromEpochNanoseconds(last);
  };
}

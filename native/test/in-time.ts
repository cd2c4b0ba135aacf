import { patience } from "../../conformance/harness/patience.ts";

const PATIENCE_MS = patience(120_000);

/** What did not come, and by now will not. */
export class Unanswered extends Error {}

/** The result of `work`; rejects with `Unanswered` when there is none in time. */
export async function inTime<T>(what: string, work: Promise<T>, ms = PATIENCE_MS): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Unanswered(`${what}: nothing in ${ms} ms`)), ms);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}

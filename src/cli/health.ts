import { setTimeout as delay } from "node:timers/promises";
import type { Launcher } from "../launcher/launcher.ts";
import { DomainError, messageOf } from "../lib/errors.ts";

/** What nothing can be made or ended without. */
export interface HealthPorts {
  readonly store: { durable(): Promise<void> };
  readonly launcher: { readonly problem: string; readonly current: Promise<Pick<Launcher, "unwatch">> };
}

const ANSWER_MS = 5_000;
/** Nothing is watched under it: the launcher answers, and does nothing. */
const NO_KEY = "health";

/** Rejects with `unavailable` and all reasons when the server is not well. That this runs at all says that the event loop turns. */
export async function health({ store, launcher }: HealthPorts, answerMs = ANSWER_MS): Promise<void> {
  const within = `after ${answerMs / 1000} s`;
  const reasons = await Promise.all([
    problemOf(store.durable(), answerMs, `the state is not on disk ${within}: look at the disk`),
    launcher.problem ||
      problemOf(
        launcher.current.then((current) => current.unwatch(NO_KEY)),
        answerMs,
        `the launcher does not answer ${within}`,
      ),
  ]);
  const found = reasons.filter((reason) => reason !== "");
  if (found.length > 0) throw new DomainError("unavailable", found.join("; "));
}

/** Why `work` has failed, `late` when it takes too long, else empty. */
async function problemOf(work: Promise<unknown>, answerMs: number, late: string): Promise<string> {
  const waiting = new AbortController();
  const timer = delay(answerMs, late, { signal: waiting.signal }).catch(() => "");
  const ended = work.then(() => "", messageOf);
  const problem = await Promise.race([ended, timer]);
  waiting.abort();
  return problem;
}

import { setTimeout as delay } from "node:timers/promises";

/** Long enough for anything that a loaded machine does; no test passes because of it. */
const patienceMs = 180_000;
/** Between two looks, so that looking leaves the machine to those who work. */
const pauseMs = 100;

/**
 * Looks until there is an answer. A kubelet tells nobody when a pod changes, so there is no event to wait for. Rejects
 * at the deadline, or with the signal's reason, saying what did not come and what was seen last.
 */
export async function lookUntil<Answer>(
  what: string,
  look: () => Promise<Answer | undefined>,
  signal: AbortSignal = AbortSignal.timeout(patienceMs),
  seen: () => unknown = () => undefined,
): Promise<Answer> {
  for (;;) {
    const answer = await look();
    if (answer !== undefined) return answer;
    if (signal.aborted) {
      throw new Error(`this did not come: ${what}; seen last: ${JSON.stringify(seen(), null, 2)}`, {
        cause: signal.reason,
      });
    }
    await delay(pauseMs);
  }
}

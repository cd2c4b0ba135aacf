import { type Container, type ExitReason, isAlive } from "./container.ts";
import { isOomKilled, type Suspicion } from "./oom.ts";

const CLD_EXITED = 1;

/** A short process may end before the call that starts it has heard that it runs: it has run all the same. */
export function hasRun(container: Container, startedNs: bigint): Container {
  const { state } = container;
  if (state.phase !== "starting" || startedNs === 0n) return container;
  const startedAt = Temporal.Instant.fromEpochNanoseconds(startedNs);
  return { ...container, state: { ...state, phase: "running", startedAt } };
}

/** Ended, as its parent saw it. Ended already: returned as it is. */
export function exited(container: Container, ending: Suspicion, finishedAt: Temporal.Instant): Container {
  const { siCode, siStatus } = ending;
  // The parent itself could not tell.
  if (siCode === 0) return endedUnseen(container, "Unknown", "nobody saw how it ended", finishedAt);
  const exitCode = siCode === CLD_EXITED ? siStatus : 128 + siStatus;
  const reason = isOomKilled(ending) ? "OOMKilled" : exitCode === 0 ? "Completed" : "Error";
  return final(container, "exited", { exitCode, reason, message: "" }, finishedAt);
}

/** Never ran: the runtime could not start it. A kubelet restarts it; one left in `created` would wait for ever. */
export function startFailed(container: Container, message: string, finishedAt: Temporal.Instant): Container {
  return final(container, "exited", { exitCode: 128, reason: "StartError", message }, finishedAt);
}

/** Ended, and nobody saw how. The exit code is 255, never 0. */
export function endedUnseen(
  container: Container,
  reason: Extract<ExitReason, "MonitorLost" | "Rebooted" | "Unknown">,
  message: string,
  finishedAt: Temporal.Instant,
): Container {
  const phase = reason === "Unknown" ? "unknown" : "exited";
  return final(container, phase, { exitCode: 255, reason, message }, finishedAt);
}

function final(
  container: Container,
  phase: "exited" | "unknown",
  how: { readonly exitCode: number; readonly reason: ExitReason; readonly message: string },
  finishedAt: Temporal.Instant,
): Container {
  if (!isAlive(container)) return container;
  const { state } = container;
  const startedAt = state.phase === "running" || state.phase === "starting" ? state.startedAt : undefined;
  return { ...container, state: { phase, startedAt, finishedAt, ...how } };
}

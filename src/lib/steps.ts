import { channel } from "node:diagnostics_channel";

/** After which kind of event the process may be killed by a crash test: each leaves another trace to recover from. */
export type StepKind = "commit" | "sent" | "received";

/** What is published on the channel "nacelle.step". */
export interface Step {
  readonly kind: StepKind;
  /** What was committed, sent or received, in a few words; never a payload. */
  readonly detail: string;
}

const steps = channel("nacelle.step");

/**
 * Marks a point at which the process may die and must be recoverable: right after a commit, after a frame was handed
 * to the kernel, before a received frame is acted on. Costs one comparison when nobody listens. A listener runs
 * synchronously, so it may kill the process here; one that throws is a bug of the listener and is reported by Node
 * as an uncaught exception, never to the caller.
 */
export function step(kind: StepKind, detail: string | (() => string)): void {
  if (!steps.hasSubscribers) return;
  steps.publish({ kind, detail: typeof detail === "string" ? detail : detail() } satisfies Step);
}

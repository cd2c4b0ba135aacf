import { DomainError } from "../../lib/errors.ts";

/** Refuses every request. */
export async function checkpointPod(): Promise<never> {
  throw new DomainError(
    "unimplemented",
    "CheckpointPod is not implemented: the addresses, connections and volumes of a pod have no state that could be written; " +
      "checkpoint its containers with CheckpointContainer",
  );
}

import { DomainError } from "../../lib/errors.ts";

/** Refuses every request, before it has looked at the file. */
export async function restorePod(): Promise<never> {
  throw new DomainError(
    "unimplemented",
    "RestorePod is not implemented: what runs is made from its request and its image alone, never from an archive of processes",
  );
}

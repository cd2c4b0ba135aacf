import type { Ending } from "../sandbox/process.ts";

const CLD_EXITED = 1;
const SIGKILL = 9;

/** What is known of an end that the kernel's lack of memory may have caused. */
export interface Suspicion extends Ending {
  /** Processes of its cgroup, execs and children included, that were killed for memory in its life. */
  readonly oomKills: bigint;
  /** Whether nacelle itself has sent SIGKILL. */
  readonly isKilledByUs: boolean;
}

/**
 * Whether a container ended because the kernel killed its first process for memory: something of it was killed for
 * that, and its first process died of SIGKILL, which nobody else is known to have sent. One that outlives a child, or a
 * command executed in it, ended for reasons of its own, whatever its exit code: 137 is also a number to exit with. A kill
 * of ours that an earlier daemon sent is not known; then a container that had lost a child for memory counts as one.
 */
export function isOomKilled({ siCode, siStatus, oomKills, isKilledByUs }: Suspicion): boolean {
  return oomKills > 0n && siCode !== CLD_EXITED && siStatus === SIGKILL && !isKilledByUs;
}

import type { Ending } from "../sandbox/process.ts";

const CLD_EXITED = 1;
const SIGKILL = 9;

/** What is known of an end that the kernel's lack of memory may have caused. */
export interface Suspicion extends Ending {
  /** Processes of its cgroup, execs and children included, that were killed for memory in its life. */
  readonly oomKills: bigint;
  /** Times that all of its cgroup was killed for memory at once, its first process included; absent: not known, or cgroup v1. */
  readonly oomGroupKills?: bigint;
  /** Whether nacelle itself has sent SIGKILL. */
  readonly isKilledByUs: boolean;
}

/**
 * Whether a container ended because the kernel killed its first process for memory: something of it was killed for
 * that, and its first process died of SIGKILL, which nobody else is known to have sent. One that outlives a child, or a
 * command executed in it, ended for reasons of its own, whatever its exit code: 137 is also a number to exit with. Where the
 * kernel kills all of a cgroup (memory.oom.group, which kubelets set) our own signal came too late to be the reason. A kill
 * of ours that an earlier daemon sent is not known; then a container that had lost a child for memory counts as one.
 */
export function isOomKilled({ siCode, siStatus, oomKills, oomGroupKills = 0n, isKilledByUs }: Suspicion): boolean {
  const isSuspect = oomGroupKills > 0n || !isKilledByUs;
  return oomKills > 0n && siCode !== CLD_EXITED && siStatus === SIGKILL && isSuspect;
}

/** How a process ended, as `waitid` tells it; `undefined` when nobody could see it. */
export interface Ending {
  readonly siCode: number;
  readonly siStatus: number;
}

/** How a process ended whose monitor is lost, with what its record tells besides. */
export interface OrphanEnding extends Ending {
  readonly oomKills?: bigint;
  readonly exitedNs?: bigint;
}

/** A process that is the same one for ever (within a boot). */
export interface Process {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat. */
  readonly startTime: string;
}

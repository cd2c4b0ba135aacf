/** What a monitor tells of its containers. */

import { PayloadReader } from "../lib/wire.ts";

const STATES = ["creating", "created", "starting", "running", "exited"] as const;

/** A container's process, from its creation to its end. Times are CLOCK_REALTIME in nanoseconds, 0 where it has not come to that. */
export interface ProcessLife {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat, decimal: with the pid it names one process within a boot. */
  readonly startTime: string;
  /** CLD_EXITED 1, CLD_KILLED 2, CLD_DUMPED 3; 0 while it lives, and when nobody knows how it ended. */
  readonly siCode: number;
  /** The exit code or the signal, as `siCode` says. */
  readonly siStatus: number;
  readonly createdNs: bigint;
  readonly startedNs: bigint;
  readonly exitedNs: bigint;
  readonly oomKills: bigint;
  readonly logLostBytes: bigint;
}

/** A container as its monitor sees it. */
export interface MonitoredContainer extends ProcessLife {
  readonly id: string;
  readonly state: (typeof STATES)[number];
  /** The daemon has said that it stored the exit. */
  readonly acked: boolean;
}

/** What EXIT says besides; absent from monitors of version 1. */
export interface ExitCounts {
  readonly logLostLines: bigint;
  /** Times that the container met its memory limit. */
  readonly ooms: bigint;
  /** Times that all of its cgroup was killed for memory. */
  readonly oomGroupKills: bigint;
}

/** As EXIT tells it, or a SNAPSHOT, which has no room for counts. */
export type SeenExit = MonitoredContainer &
  Partial<ExitCounts> & {
    /** `oomKills` is what the pod's cgroup has counted since its creation, because its own was gone. */
    readonly isOfPod?: boolean;
  };

export function decodeSnapshot(payload: Buffer): MonitoredContainer[] {
  return new PayloadReader(payload).list(readContainer);
}

/** The payload of an EXIT event. */
export function decodeContainer(payload: Buffer): SeenExit {
  const r = new PayloadReader(payload);
  const container = readContainer(r);
  if (r.left === 0) return container;
  const counted = { ...container, ...readCounts(r) };
  return r.left > 0 && r.u8() !== 0 ? { ...counted, isOfPod: true } : counted;
}

export function readCounts(r: PayloadReader): ExitCounts {
  return { logLostLines: r.u64(), ooms: r.u64(), oomGroupKills: r.u64() };
}

/** The fields that SNAPSHOT, EXIT and the exit record have in this order. */
export function readLife(r: PayloadReader): ProcessLife {
  return {
    pid: r.u32(),
    startTime: r.u64().toString(),
    siCode: r.i32(),
    siStatus: r.i32(),
    createdNs: r.u64(),
    startedNs: r.u64(),
    exitedNs: r.u64(),
    oomKills: r.u64(),
    logLostBytes: r.u64(),
  };
}

function readContainer(r: PayloadReader): MonitoredContainer {
  const id = r.str();
  const state = STATES[r.u8() - 1] ?? "creating";
  return { id, state, ...readLife(r), acked: r.u8() !== 0 };
}

/** What a monitor tells of logs, memory and health, unasked. */

import { PayloadReader } from "../lib/wire.ts";

export function decodeLogError(payload: Buffer): { readonly id: string; readonly errno: number } {
  const r = new PayloadReader(payload);
  return { id: r.str(), errno: r.i32() };
}

export interface LogRecovered {
  readonly id: string;
  readonly lostBytes: bigint;
  /** Absent from monitors of version 1, which do not count them. */
  readonly lostLines?: bigint;
}

export function decodeLogRecovered(payload: Buffer): LogRecovered {
  const r = new PayloadReader(payload);
  const lost = { id: r.str(), lostBytes: r.u64() };
  return r.left === 0 ? lost : { ...lost, lostLines: r.u64() };
}

export interface LogLimitMet {
  readonly id: string;
  readonly limit: "soft" | "hard";
  /** Bytes of the file. */
  readonly size: bigint;
}

export function decodeLogLimit(payload: Buffer): LogLimitMet {
  const r = new PayloadReader(payload);
  return { id: r.str(), limit: r.u8() === 2 ? "hard" : "soft", size: r.u64() };
}

/** A container's kills for memory so far, while it lives. */
export function decodeOom(payload: Buffer): { readonly id: string; readonly oomKills: bigint } {
  const r = new PayloadReader(payload);
  return { id: r.str(), oomKills: r.u64() };
}

const TROUBLES = ["well", "cannot end", "log hangs"] as const;

export interface Health {
  readonly id: string;
  /** "cannot end": it was killed and has not ended; "log hangs": the disk of its log does not answer; "well": over. */
  readonly trouble: (typeof TROUBLES)[number];
  readonly seconds: number;
  /** Of "well": which trouble is over; absent: all. */
  readonly of?: Exclude<Health["trouble"], "well">;
}

export function decodeHealth(payload: Buffer): Health {
  const r = new PayloadReader(payload);
  const health: Health = { id: r.str(), trouble: TROUBLES[r.u8()] ?? "well", seconds: r.u32() };
  const of = health.trouble === "well" && r.left > 0 ? TROUBLES[r.u8()] : undefined;
  return of === undefined || of === "well" ? health : { ...health, of };
}

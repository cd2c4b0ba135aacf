import { PayloadReader, WireError } from "../lib/wire.ts";
import { type ExitCounts, type ProcessLife, readCounts, readLife } from "./monitored-container.ts";

export const EXIT_RECORD_SIZE = 512;
const MAGIC = "NCLEXIT1";
const CRC_AT = EXIT_RECORD_SIZE - 4;
const ID_AT = 72;
const COUNTS_AT = 136;

/** What a monitor wrote about a container, for a daemon that finds the monitor gone. */
export interface ExitRecord extends ProcessLife, ExitCounts {
  readonly id: string;
  /** "alive": created or later; nothing is known of its end. */
  readonly state: "alive" | "exited";
}

/** Parses the bytes of an exit record; `undefined` for anything that is not one, whole and unharmed. */
export function parseExitRecord(bytes: Buffer): ExitRecord | undefined {
  if (bytes.length !== EXIT_RECORD_SIZE || bytes.toString("latin1", 0, MAGIC.length) !== MAGIC) return undefined;
  if (bytes.readUInt32LE(CRC_AT) !== crc32c(bytes.subarray(0, CRC_AT))) return undefined;
  const r = new PayloadReader(bytes.subarray(MAGIC.length, ID_AT));
  try {
    const state = r.u16();
    r.u16();
    if (state !== 2 && state !== 5) return undefined;
    const text = bytes.toString("latin1", ID_AT, ID_AT + 64);
    return {
      id: text.includes("\0") ? text.slice(0, text.indexOf("\0")) : text,
      state: state === 5 ? "exited" : "alive",
      ...readLife(r),
      ...readCounts(new PayloadReader(bytes.subarray(COUNTS_AT, CRC_AT))), // zeros from monitors of version 1
    };
  } catch (error) {
    if (error instanceof WireError) return undefined;
    throw error;
  }
}

/** CRC32C (Castagnoli), bit by bit: a record is short and read once. */
function crc32c(bytes: Buffer): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) === 0 ? 0 : 0x82f6_3b78);
  }
  return ~crc >>> 0;
}

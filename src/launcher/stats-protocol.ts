import { PayloadWriter, WireError } from "../lib/wire.ts";

/** Messages of the launcher's stats reader; native/README.md is their specification. */
export const statsMessage = { add: 0x0401, remove: 0x0402, read: 0x0403 } as const;

/** A set's place in the reader's table is a number below this. */
export const STATS_SLOTS = 16_384;

/** One file of a set. */
export interface StatsFile {
  /** Read when at least this level is asked for. */
  readonly level: number;
  /** Stays open between reads, as long as the limit of open files allows. */
  readonly keep: boolean;
  /** Index into `directories`. */
  readonly directory: number;
  readonly name: string;
}

/** What is read together: the files of one cgroup, and the interfaces of a network namespace. At most 24 files, 16 directories. */
export interface StatsSet {
  /** Path of the pinned network namespace whose /proc/net/dev is read after all files; "": none. */
  readonly netns: string;
  readonly directories: readonly string[];
  readonly files: readonly StatsFile[];
}

/** What one set held. */
export interface StatsReading {
  /** CLOCK_REALTIME, before its first file was read. */
  readonly timeNs: bigint;
  /**
   * In the order of the set's files of the level asked for and below, then of the network namespace. At most 8 KiB each;
   * `undefined` where there is no such file, or it is larger.
   */
  readonly texts: readonly (string | undefined)[];
}

export function encodeStatsAdd(slot: number, { netns, directories, files }: StatsSet): Buffer {
  return new PayloadWriter()
    .u32(slot)
    .str(netns)
    .strings(directories)
    .list(files, (w, { level, keep, directory, name }) =>
      w
        .u8(level)
        .u8(keep ? 1 : 0)
        .u8(directory)
        .str(name),
    )
    .done();
}

export function encodeStatsRemove(slots: readonly number[]): Buffer {
  return new PayloadWriter().list(slots, (w, slot) => w.u32(slot)).done();
}

export function encodeStatsRead(level: number, slots: readonly number[]): Buffer {
  const payload = Buffer.allocUnsafe(5 + 4 * slots.length);
  payload.writeUInt8(level, 0);
  payload.writeUInt32LE(slots.length, 1);
  for (const [index, slot] of slots.entries()) payload.writeUInt32LE(slot, 5 + 4 * index);
  return payload;
}

/** Told of each reading of an answer, in their order. */
export type TakeReading = (reading: StatsReading, index: number) => void;

/**
 * Gives away each reading before it makes the next, and returns how many there were: thousands of texts that live at
 * once would cost more than all else. Throws `WireError` where the payload is too short.
 */
export function decodeStatsReadings(payload: Buffer, take: TakeReading): number {
  const end = payload.length;
  let at = 0;
  const skip = (length: number): number => {
    if (end - at < length) throw new WireError(`payload ends at byte ${end}`);
    at += length;
    return at - length;
  };
  const text = (): string | undefined => {
    const errno = payload.readUInt16LE(skip(2));
    const length = payload.readUInt32LE(skip(4));
    const start = skip(length);
    return errno === 0 ? payload.toString("latin1", start, start + length) : undefined;
  };
  const count = payload.readUInt32LE(skip(4));
  for (let index = 0; index < count; index++) {
    const timeNs = payload.readBigUInt64LE(skip(8));
    const texts: (string | undefined)[] = [];
    for (let left = payload.readUInt32LE(skip(4)); left > 0; left--) texts.push(text());
    take({ timeNs, texts }, index);
  }
  return count;
}

import type { PaxRecords } from "./pax.ts";
import { TarError } from "./tar-entry.ts";
import { BLOCK, number, type TarHeader } from "./tar-header.ts";

/** A stretch of a sparse file that has data; the rest of the file is holes. */
export interface Segment {
  readonly offset: number;
  readonly length: number;
}

const maxSegments = 100_000;

/** Segments of an old GNU header ('S'): 4 in the header, then 21 in each extension block. */
export class OldSparseMap {
  readonly segments: Segment[] = [];
  readonly realSize: number;
  /** True while another extension block follows. */
  extended: boolean;

  constructor(header: TarHeader) {
    this.realSize = number(header.block, 483, 12, "realsize");
    this.#take(header.block, 386, 4);
    this.extended = (header.block[482] ?? 0) !== 0;
  }

  extend(block: Buffer): void {
    this.#take(block, 0, 21);
    this.extended = (block[504] ?? 0) !== 0;
  }

  #take(block: Buffer, start: number, count: number): void {
    for (let i = 0; i < count; i++) {
      const at = start + i * 24;
      if (block[at] === 0 || block[at + 12] === 0) return;
      push(this.segments, number(block, at, 12, "sparse offset"), number(block, at + 12, 12, "sparse length"));
    }
  }
}

/** GNU.sparse 0.0 (repeated offset and numbytes) or 0.1 (map) of an extended header; undefined when it has neither. */
export function paxSparseMap(records: PaxRecords): Segment[] | undefined {
  const segments: Segment[] = [];
  let offset: number | undefined;
  let found = false;
  for (const [key, value] of records) {
    if (key === "GNU.sparse.map") {
      const numbers = value === "" ? [] : value.split(",").map(decimal);
      if (numbers.length % 2 !== 0) throw new TarError("GNU.sparse.map has an odd number of numbers");
      for (let i = 0; i < numbers.length; i += 2) push(segments, numbers[i] ?? 0, numbers[i + 1] ?? 0);
      found = true;
    } else if (key === "GNU.sparse.numblocks") {
      found = true;
    } else if (key === "GNU.sparse.offset") {
      offset = decimal(value);
    } else if (key === "GNU.sparse.numbytes") {
      if (offset === undefined) throw new TarError("GNU.sparse.numbytes without GNU.sparse.offset");
      push(segments, offset, decimal(value));
      offset = undefined;
    }
  }
  return found ? segments : undefined;
}

/**
 * GNU.sparse 1.0: the map stands before the data as decimal lines, padded to a block. Returns it with the bytes that
 * it takes, or undefined when `data` does not hold all of it yet.
 */
export function leadingSparseMap(data: Buffer): { readonly segments: Segment[]; readonly length: number } | undefined {
  let at = 0;
  const next = (): number | undefined => {
    const end = data.indexOf(0x0a, at);
    if (end < 0 && data.length - at > 20) throw new TarError("sparse map line is too long");
    if (end < 0) return undefined;
    const value = decimal(data.toString("latin1", at, end));
    at = end + 1;
    return value;
  };
  const count = next();
  if (count === undefined) return undefined;
  if (count > maxSegments) throw new TarError(`sparse map of ${count} segments`);
  const segments: Segment[] = [];
  for (let i = 0; i < count; i++) {
    const offset = next();
    const length = next();
    if (offset === undefined || length === undefined) return undefined;
    push(segments, offset, length);
  }
  const length = Math.ceil(at / BLOCK) * BLOCK;
  return data.length < length ? undefined : { segments, length };
}

/** Throws `TarError` unless the segments hold exactly `stored` bytes and end within `realSize`. */
export function verifySegments(segments: readonly Segment[], stored: number, realSize: number): void {
  const total = segments.reduce((sum, { length }) => sum + length, 0);
  const last = segments.at(-1);
  if (total !== stored) throw new TarError(`sparse map describes ${total} bytes of ${stored}`);
  if (last !== undefined && last.offset + last.length > realSize) throw new TarError("sparse map exceeds the file");
}

function push(segments: Segment[], offset: number, length: number): void {
  const last = segments.at(-1);
  if (segments.length >= maxSegments) throw new TarError(`sparse map has more than ${maxSegments} segments`);
  if (offset < 0 || length < 0 || (last !== undefined && offset < last.offset + last.length)) {
    throw new TarError("sparse map is not in order");
  }
  // An empty one at the end only tells the size, which is known.
  if (length > 0) segments.push({ offset, length });
}

function decimal(value: string): number {
  if (!/^[0-9]{1,16}$/.test(value) || !Number.isSafeInteger(Number(value))) {
    throw new TarError(`sparse map holds ${JSON.stringify(value.slice(0, 40))}`);
  }
  return Number(value);
}

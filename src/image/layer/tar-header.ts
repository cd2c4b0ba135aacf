import { TarError } from "./tar-entry.ts";

export const BLOCK = 512;

/** The fields of one header block, as they stand there. Names are byte strings. */
export interface TarHeader {
  readonly type: string;
  readonly name: string;
  readonly linkName: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  /** The block itself, for what only some formats have. A copy. */
  readonly block: Buffer;
}

/** True for a block of zeros, two of which end an archive. */
export function isZero(block: Buffer): boolean {
  return block.every((byte) => byte === 0);
}

/** Throws `TarError` for a wrong checksum or a malformed number. `block` has 512 bytes. */
export function parseHeader(block: Buffer): TarHeader {
  verifyChecksum(block);
  const magic = block.toString("latin1", 257, 265);
  return {
    type: String.fromCharCode(block[156] ?? 0),
    name: prefixOf(block, magic) + text(block, 0, 100),
    linkName: text(block, 157, 100),
    mode: number(block, 100, 8, "mode"),
    uid: number(block, 108, 8, "uid"),
    gid: number(block, 116, 8, "gid"),
    size: number(block, 124, 12, "size"),
    mtime: number(block, 136, 12, "mtime"),
    deviceMajor: magic.startsWith("ustar") ? number(block, 329, 8, "devmajor") : 0,
    deviceMinor: magic.startsWith("ustar") ? number(block, 337, 8, "devminor") : 0,
    block: Buffer.from(block),
  };
}

/** POSIX archives continue a long name in a prefix; GNU ones ("ustar  ") keep times and sparse maps there. */
function prefixOf(block: Buffer, magic: string): string {
  if (!magic.startsWith("ustar\0")) return "";
  const isStar = block.toString("latin1", 508, 512) === "tar\0";
  const prefix = text(block, 345, isStar ? 131 : 155);
  return prefix === "" ? "" : `${prefix}/`;
}

/** Bytes up to the first NUL. */
export function text(block: Buffer, start: number, length: number): string {
  const end = block.indexOf(0, start);
  return block.toString("latin1", start, end < 0 || end > start + length ? start + length : end);
}

/** Octal digits between blanks and NULs, or base-256 with the first bit set. Empty is 0. */
export function number(block: Buffer, start: number, length: number, field: string): number {
  const first = block[start] ?? 0;
  if ((first & 0x80) !== 0) return base256(block, start, length, field);
  const raw = block.toString("latin1", start, start + length);
  const [digits = ""] = raw.replace(/^[ \0]+/, "").split(/[ \0]/, 1);
  if (!/^[0-7]*$/.test(digits)) throw new TarError(`${field} ${JSON.stringify(digits)} is not an octal number`);
  return digits === "" ? 0 : Number.parseInt(digits, 8);
}

function base256(block: Buffer, start: number, length: number, field: string): number {
  const bits = BigInt(length * 8 - 1);
  const hex = block.toString("hex", start, start + length);
  const value = BigInt.asIntN(Number(bits), BigInt(`0x${hex}`));
  if (value > BigInt(Number.MAX_SAFE_INTEGER) || value < BigInt(Number.MIN_SAFE_INTEGER)) {
    throw new TarError(`${field} 0x${hex} is out of range`);
  }
  return Number(value);
}

/** The sum of all bytes with the checksum field as blanks; old archivers summed signed bytes. */
function verifyChecksum(block: Buffer): void {
  const expected = number(block, 148, 8, "checksum");
  let unsigned = 0;
  let signed = 0;
  for (let i = 0; i < BLOCK; i++) {
    const byte = i >= 148 && i < 156 ? 0x20 : (block[i] ?? 0);
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  if (expected !== unsigned && expected !== signed) throw new TarError("header checksum does not match");
}

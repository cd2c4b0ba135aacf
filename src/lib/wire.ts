/** Frames and payload fields of the native protocol; native/README.md is its specification. */

export const FRAME_HEADER = 16;
export const FRAME_MAX = 262_144;
export const REPLY = 0x8000;
const FLAG_ERROR = 1;

export interface Frame {
  readonly type: number;
  readonly isError: boolean;
  readonly seq: bigint;
  readonly payload: Buffer;
}

/** A peer broke the protocol: its connection is of no further use. */
export class WireError extends Error {
  override readonly name = "WireError";
}

export function encodeFrame(type: number, seq: bigint, payload: Buffer, isError = false): Buffer {
  if (payload.length > FRAME_MAX) throw new WireError(`payload of ${payload.length} bytes exceeds ${FRAME_MAX}`);
  const header = Buffer.allocUnsafe(FRAME_HEADER);
  header.writeUInt32LE(payload.length, 0);
  header.writeUInt16LE(type, 4);
  header.writeUInt16LE(isError ? FLAG_ERROR : 0, 6);
  header.writeBigUInt64LE(seq, 8);
  return Buffer.concat([header, payload]);
}

/** The frame that these bytes begin with; undefined while it is not whole. Throws `WireError` on an oversized one. */
export function cutFrame(bytes: Buffer): Frame | undefined {
  if (bytes.length < FRAME_HEADER) return undefined;
  const length = bytes.readUInt32LE(0);
  if (length > FRAME_MAX) throw new WireError(`frame of ${length} bytes exceeds ${FRAME_MAX}`);
  if (bytes.length < FRAME_HEADER + length) return undefined;
  const type = bytes.readUInt16LE(4);
  const isError = (bytes.readUInt16LE(6) & FLAG_ERROR) !== 0;
  return {
    type,
    isError,
    seq: bytes.readBigUInt64LE(8),
    payload: bytes.subarray(FRAME_HEADER, FRAME_HEADER + length),
  };
}

/** Cuts a byte stream into frames, however it was chunked. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #length = 0;

  /** Takes the next bytes and returns the frames that they complete. Throws `WireError` on an oversized frame. */
  push(chunk: Buffer): Frame[] {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    const frames: Frame[] = [];
    for (let frame = this.#next(); frame !== undefined; frame = this.#next()) frames.push(frame);
    return frames;
  }

  #next(): Frame | undefined {
    if (this.#length < FRAME_HEADER) return undefined;
    const length = this.#peek(FRAME_HEADER).readUInt32LE(0);
    if (length > FRAME_MAX) throw new WireError(`frame of ${length} bytes exceeds ${FRAME_MAX}`);
    if (this.#length < FRAME_HEADER + length) return undefined;
    const bytes = this.#peek(FRAME_HEADER + length);
    const rest = bytes.length === this.#length ? undefined : this.#joined().subarray(FRAME_HEADER + length);
    this.#chunks = rest === undefined ? [] : [rest];
    this.#length = rest?.length ?? 0;
    return cutFrame(bytes);
  }

  #peek(length: number): Buffer {
    const [first] = this.#chunks;
    return first !== undefined && first.length >= length
      ? first.subarray(0, length)
      : this.#joined().subarray(0, length);
  }

  #joined(): Buffer {
    const [first] = this.#chunks;
    const joined = this.#chunks.length === 1 && first !== undefined ? first : Buffer.concat(this.#chunks);
    this.#chunks = [joined];
    return joined;
  }
}

/** Builds a payload field by field. */
export class PayloadWriter {
  readonly #parts: Buffer[] = [];

  u8(value: number): this {
    return this.#add(1, (b) => b.writeUInt8(value));
  }

  u16(value: number): this {
    return this.#add(2, (b) => b.writeUInt16LE(value));
  }

  u32(value: number): this {
    return this.#add(4, (b) => b.writeUInt32LE(value));
  }

  i32(value: number): this {
    return this.#add(4, (b) => b.writeInt32LE(value));
  }

  u64(value: bigint): this {
    return this.#add(8, (b) => b.writeBigUInt64LE(value));
  }

  bytes(value: Buffer): this {
    this.u32(value.length);
    this.#parts.push(value);
    return this;
  }

  /** Throws `WireError` on a NUL: such a text could not be a path or an argument. */
  str(value: string): this {
    if (value.includes("\0")) throw new WireError("text holds a NUL");
    return this.bytes(Buffer.from(value));
  }

  list<T>(values: readonly T[], put: (writer: this, value: T) => void): this {
    this.u32(values.length);
    for (const value of values) put(this, value);
    return this;
  }

  strings(values: readonly string[]): this {
    return this.list(values, (writer, value) => writer.str(value));
  }

  done(): Buffer {
    return Buffer.concat(this.#parts);
  }

  #add(size: number, put: (buffer: Buffer) => void): this {
    const buffer = Buffer.allocUnsafe(size);
    put(buffer);
    this.#parts.push(buffer);
    return this;
  }
}

/** Reads a payload field by field; throws `WireError` where it is too short. Bytes after the known fields are ignored. */
export class PayloadReader {
  readonly #payload: Buffer;
  #at = 0;

  constructor(payload: Buffer) {
    this.#payload = payload;
  }

  /** Bytes that were not read: 0 where an older peer's message ends. */
  get left(): number {
    return this.#payload.length - this.#at;
  }

  u8(): number {
    return this.#take(1).readUInt8();
  }

  u16(): number {
    return this.#take(2).readUInt16LE();
  }

  u32(): number {
    return this.#take(4).readUInt32LE();
  }

  i32(): number {
    return this.#take(4).readInt32LE();
  }

  u64(): bigint {
    return this.#take(8).readBigUInt64LE();
  }

  bytes(): Buffer {
    return this.#take(this.u32());
  }

  str(): string {
    return this.bytes().toString("utf8");
  }

  list<T>(get: (reader: this) => T): T[] {
    const count = this.u32();
    if (count > this.#payload.length) throw new WireError(`list of ${count} items in ${this.#payload.length} bytes`);
    return Array.from({ length: count }, () => get(this));
  }

  #take(length: number): Buffer {
    if (this.#payload.length - this.#at < length) throw new WireError(`payload ends at byte ${this.#payload.length}`);
    this.#at += length;
    return this.#payload.subarray(this.#at - length, this.#at);
  }
}

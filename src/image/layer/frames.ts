import type { TarEntry } from "./tar-entry.ts";

/** Frames to and from the native `unpack` role; native/UNPACK.md is their specification. Names are byte strings. */

export const frameType = {
  begin: 1,
  directory: 2,
  file: 3,
  data: 4,
  symlink: 5,
  hardlink: 6,
  node: 7,
  whiteout: 8,
  opaque: 9,
  xattr: 10,
  times: 11,
  end: 12,
  result: 129,
} as const;

const headerBytes = 8;
const metaBytes = 24;
const protocolVersion = 1;
/** DATA payloads are cut to this. */
const maxDataBytes = 128 * 1024;

type Meta = Pick<TarEntry, "mode" | "uid" | "gid" | "mtimeSeconds" | "mtimeNanoseconds">;

const nodeKinds = { character: 1, block: 2, fifo: 3 } as const;

/** Encodes frames into slabs and hands each full slab to `flush`, which then owns it. */
export class FrameEncoder {
  readonly #flush: (slab: Buffer) => void;
  readonly #slabBytes: number;
  #slab: Buffer;
  #used = 0;

  constructor(flush: (slab: Buffer) => void, slabBytes = 256 * 1024) {
    this.#flush = flush;
    this.#slabBytes = slabBytes;
    this.#slab = Buffer.allocUnsafeSlow(slabBytes);
  }

  begin(): void {
    const at = this.#frame(frameType.begin, 4);
    this.#slab.writeUInt32LE(protocolVersion, at);
  }

  directory(path: string, meta: Meta): void {
    const at = this.#frame(frameType.directory, metaBytes + path.length);
    this.#text(this.#meta(at, meta), path);
  }

  file(path: string, meta: Meta, size: number): void {
    const at = this.#meta(this.#frame(frameType.file, metaBytes + 8 + path.length), meta);
    this.#slab.writeBigUInt64LE(BigInt(size), at);
    this.#text(at + 8, path);
  }

  data(offset: number, bytes: Buffer): void {
    for (let done = 0; done < bytes.length; done += maxDataBytes) {
      const part = bytes.subarray(done, done + maxDataBytes);
      const at = this.#frame(frameType.data, 8 + part.length);
      this.#slab.writeBigUInt64LE(BigInt(offset + done), at);
      part.copy(this.#slab, at + 8);
    }
  }

  symlink(path: string, target: string, meta: Meta): void {
    const at = this.#frame(frameType.symlink, metaBytes + 4 + path.length + target.length);
    this.#sized(this.#meta(at, meta), path, target);
  }

  hardlink(path: string, target: string): void {
    this.#sized(this.#frame(frameType.hardlink, 4 + path.length + target.length), path, target);
  }

  node(path: string, meta: Meta, kind: keyof typeof nodeKinds, major: number, minor: number): void {
    const at = this.#meta(this.#frame(frameType.node, metaBytes + 12 + path.length), meta);
    this.#slab.writeUInt32LE(nodeKinds[kind], at);
    this.#slab.writeUInt32LE(major, at + 4);
    this.#slab.writeUInt32LE(minor, at + 8);
    this.#text(at + 12, path);
  }

  whiteout(path: string): void {
    this.#text(this.#frame(frameType.whiteout, path.length), path);
  }

  opaque(path: string): void {
    this.#text(this.#frame(frameType.opaque, path.length), path);
  }

  xattr(name: string, value: Buffer): void {
    const at = this.#frame(frameType.xattr, 4 + name.length + value.length);
    this.#sized(at, name, "");
    value.copy(this.#slab, at + 4 + name.length);
  }

  times(path: string, seconds: number, nanoseconds: number): void {
    const at = this.#frame(frameType.times, 12 + path.length);
    this.#slab.writeBigInt64LE(BigInt(seconds), at);
    this.#slab.writeUInt32LE(nanoseconds, at + 8);
    this.#text(at + 12, path);
  }

  /** The last frame; flushes. */
  end(): void {
    this.#frame(frameType.end, 0);
    this.flush();
  }

  flush(): void {
    if (this.#used === 0) return;
    const full = this.#slab.subarray(0, this.#used);
    this.#used = 0;
    this.#slab = Buffer.allocUnsafeSlow(this.#slabBytes);
    this.#flush(full);
  }

  /** Reserves a frame and returns where its payload begins. */
  #frame(type: number, length: number): number {
    if (this.#used + headerBytes + length > this.#slab.length) this.flush();
    const at = this.#used;
    this.#slab.writeUInt32LE(length, at);
    this.#slab.writeUInt32LE(type, at + 4); // the type and three zeros
    this.#used = at + headerBytes + length;
    return at + headerBytes;
  }

  #meta(at: number, meta: Meta): number {
    this.#slab.writeUInt32LE(meta.mode, at);
    this.#slab.writeUInt32LE(meta.uid, at + 4);
    this.#slab.writeUInt32LE(meta.gid, at + 8);
    this.#slab.writeUInt32LE(meta.mtimeNanoseconds, at + 12);
    this.#slab.writeBigInt64LE(BigInt(meta.mtimeSeconds), at + 16);
    return at + metaBytes;
  }

  #text(at: number, text: string): void {
    this.#slab.write(text, at, "latin1");
  }

  #sized(at: number, first: string, second: string): void {
    this.#slab.writeUInt16LE(first.length, at);
    this.#slab.writeUInt16LE(0, at + 2);
    this.#text(at + 4, first + second);
  }
}

/** What became of a layer. */
export interface UnpackResult {
  /** 0: complete. */
  readonly errno: number;
  /** Allocated, as stat(2) counts. */
  readonly bytes: number;
  readonly inodes: number;
  readonly frames: number;
  /** The path at which it failed; else empty. */
  readonly path: string;
}

/** Reads a RESULT frame; `undefined` while `received` does not hold all of it. Throws a `TypeError` for anything else. */
export function decodeResult(received: Buffer): UnpackResult | undefined {
  if (received.length < headerBytes) return undefined;
  const length = received.readUInt32LE(0);
  if (received.readUInt32LE(4) !== frameType.result || length < 32 || length > 8192) {
    throw new TypeError("unpack answered something other than a RESULT");
  }
  if (received.length < headerBytes + length) return undefined;
  return {
    errno: received.readUInt32LE(8),
    bytes: Number(received.readBigUInt64LE(16)),
    inodes: Number(received.readBigUInt64LE(24)),
    frames: Number(received.readBigUInt64LE(32)),
    path: received.toString("utf8", 40, headerBytes + length),
  };
}

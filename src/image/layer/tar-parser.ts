import { mergePax, type PaxRecords, parsePax, paxNumber, paxTime } from "./pax.ts";
import { leadingSparseMap, OldSparseMap, paxSparseMap, type Segment, verifySegments } from "./sparse.ts";
import { type TarEntry, TarError, type TarEvent } from "./tar-entry.ts";
import { BLOCK, isZero, parseHeader, type TarHeader } from "./tar-header.ts";

/** Extended headers, long names and sparse maps are held in memory: this is their bound. */
const maxMetadataBytes = 1024 * 1024;

/** They are applied to every entry. */
const maxGlobalRecords = 64;

const kinds: Readonly<Record<string, TarEntry["kind"]>> = {
  "0": "file",
  "\0": "file",
  "7": "file",
  S: "file",
  "1": "hardlink",
  "2": "symlink",
  "3": "character",
  "4": "block",
  "5": "directory",
  "6": "fifo",
};

type State =
  | { readonly at: "header" }
  | { readonly at: "end" }
  /** Collecting `left` bytes for `take`. */
  | { readonly at: "metadata"; readonly take: (bytes: Buffer) => void; readonly length: number }
  | { readonly at: "oldSparse"; readonly header: TarHeader; readonly map: OldSparseMap }
  | { readonly at: "leadingMap"; readonly entry: TarEntry; readonly stored: number }
  | { at: "data"; left: number; segments: Segment[] | undefined; segment: number; done: number }
  | { at: "skip"; left: number };

/**
 * Reads a tar archive that comes in pieces: ustar, PAX with global headers, GNU long names and all GNU sparse formats,
 * base-256 numbers, SCHILY.xattr. Holds at most a block, or one entry's metadata, between two calls. Throws `TarError`,
 * and nothing else, for whatever else it is given.
 */
export class TarParser {
  #state: State = { at: "header" };
  #pending: Buffer = Buffer.alloc(0);
  #zeros = 0;
  #padding = 0;
  #global: PaxRecords = [];
  #own: PaxRecords = [];
  #longName: string | undefined;
  #longLink: string | undefined;

  /** Takes the next bytes and yields what they complete. Must be iterated to its end before the next call. */
  *push(chunk: Buffer): Generator<TarEvent, void, undefined> {
    let rest = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    for (;;) {
      const before: number = rest.length;
      const state: State = this.#state;
      switch (state.at) {
        case "end":
          rest = rest.subarray(rest.length);
          break;
        case "skip": {
          const count: number = Math.min(state.left, rest.length);
          state.left -= count;
          rest = rest.subarray(count);
          if (state.left === 0) this.#state = { at: "header" };
          break;
        }
        case "data":
          rest = yield* this.#data(state, rest);
          break;
        case "metadata":
          if (rest.length < state.length) break;
          this.#skip(padding(state.length));
          state.take(rest.subarray(0, state.length));
          rest = rest.subarray(state.length);
          break;
        case "leadingMap":
          rest = yield* this.#leadingMap(state.entry, state.stored, rest);
          break;
        default:
          if (rest.length < BLOCK) break;
          yield* this.#block(state, rest.subarray(0, BLOCK));
          rest = rest.subarray(BLOCK);
      }
      if (rest.length === before && this.#state === state) break;
    }
    this.#pending = rest.length === 0 ? rest : Buffer.from(rest);
    if (this.#pending.length > 2 * maxMetadataBytes) throw new TarError("metadata is too long");
  }

  /** To be called after the last byte. Throws `TarError` when the archive ends in the middle of an entry. */
  finish(): void {
    const complete = this.#state.at === "end" || (this.#state.at === "header" && this.#pending.length === 0);
    if (!complete) throw new TarError("archive is truncated");
  }

  *#block(state: State, block: Buffer): Generator<TarEvent, void, undefined> {
    if (state.at === "oldSparse") {
      state.map.extend(block);
      if (!state.map.extended) yield* this.#sparse(state.header, state.map.segments, state.map.realSize);
      return;
    }
    if (isZero(block)) {
      this.#zeros += 1;
      if (this.#zeros === 2) this.#state = { at: "end" };
      return;
    }
    if (this.#zeros > 0) throw new TarError("an entry follows the end of the archive");
    yield* this.#header(parseHeader(block));
  }

  *#header(header: TarHeader): Generator<TarEvent, void, undefined> {
    if (header.size < 0) throw new TarError("entry has a negative size");
    switch (header.type) {
      case "x":
      case "X":
        return this.#metadata(header, (bytes) => {
          this.#own = parsePax(bytes);
        });
      case "g":
        return this.#metadata(header, (bytes) => {
          this.#global = [...mergePax(this.#global, parsePax(bytes))];
          if (this.#global.length > maxGlobalRecords) throw new TarError("too many global records");
        });
      case "L":
        return this.#metadata(header, (bytes) => {
          this.#longName = untilNul(bytes);
        });
      case "K":
        return this.#metadata(header, (bytes) => {
          this.#longLink = untilNul(bytes);
        });
      case "V": // a volume label
        return this.#skip(padded(header.size));
      case "S": {
        const map = new OldSparseMap(header);
        if (map.extended) this.#state = { at: "oldSparse", header, map };
        else yield* this.#sparse(header, map.segments, map.realSize);
        return;
      }
      default:
        yield* this.#entry(header);
    }
  }

  #metadata(header: TarHeader, take: (bytes: Buffer) => void): void {
    if (header.size > maxMetadataBytes) throw new TarError(`metadata of ${header.size} bytes`);
    this.#state = { at: "metadata", take, length: header.size };
  }

  *#sparse(header: TarHeader, segments: Segment[], realSize: number): Generator<TarEvent, void, undefined> {
    const { entry, stored } = this.#describe(header);
    verifySegments(segments, stored, realSize);
    yield { type: "entry", entry: { ...entry, size: realSize } };
    this.#expect(stored, segments);
  }

  *#entry(header: TarHeader): Generator<TarEvent, void, undefined> {
    const records = [...this.#global, ...this.#own];
    const { entry, stored, pax } = this.#describe(header);
    if (entry.kind !== "file") {
      yield { type: "entry", entry };
      this.#state = { at: "header" };
      return;
    }
    const name = pax.get("GNU.sparse.name");
    const realSize = paxNumber(pax, "GNU.sparse.realsize") ?? paxNumber(pax, "GNU.sparse.size");
    const sparse: TarEntry = { ...entry, path: name ?? entry.path, size: realSize ?? stored };
    if (pax.get("GNU.sparse.major") === "1") {
      this.#padding = padding(stored);
      this.#state = { at: "leadingMap", entry: sparse, stored };
      return;
    }
    const segments = paxSparseMap(records);
    if (segments !== undefined) verifySegments(segments, stored, sparse.size);
    yield { type: "entry", entry: segments === undefined ? entry : sparse };
    this.#expect(stored, segments);
  }

  *#leadingMap(entry: TarEntry, stored: number, rest: Buffer): Generator<TarEvent, Buffer, undefined> {
    const map = leadingSparseMap(rest.subarray(0, stored));
    if (map === undefined) {
      if (rest.length >= Math.min(stored, maxMetadataBytes)) throw new TarError("sparse map is truncated");
      return rest;
    }
    verifySegments(map.segments, stored - map.length, entry.size);
    yield { type: "entry", entry };
    this.#expect(stored - map.length, map.segments);
    return rest.subarray(map.length);
  }

  /** The next `stored` bytes are a file's. */
  #expect(stored: number, segments: Segment[] | undefined): void {
    this.#padding = padding(stored);
    if (stored === 0) this.#skip(0);
    else this.#state = { at: "data", left: stored, segments, segment: 0, done: 0 };
  }

  #skip(count: number): void {
    this.#state = count === 0 ? { at: "header" } : { at: "skip", left: count };
  }

  *#data(state: Extract<State, { at: "data" }>, rest: Buffer): Generator<TarEvent, Buffer, undefined> {
    let count = Math.min(state.left, rest.length);
    let offset = state.done;
    if (state.segments !== undefined) {
      const segment = state.segments[state.segment];
      if (segment === undefined) throw new TarError("sparse map is too short");
      count = Math.min(count, segment.length - state.done);
      offset = segment.offset + state.done;
    }
    if (count === 0) return rest;
    yield { type: "data", offset, bytes: rest.subarray(0, count) };
    state.left -= count;
    state.done += count;
    if (state.segments !== undefined && state.done === state.segments[state.segment]?.length) {
      state.segment += 1;
      state.done = 0;
    }
    if (state.left === 0) this.#skip(this.#padding);
    return rest.subarray(count);
  }

  /** Puts header, long names and extended headers together, and forgets those of this entry. */
  #describe(header: TarHeader) {
    const pax = mergePax(this.#global, this.#own);
    const path = pax.get("path") ?? this.#longName ?? header.name;
    const kind = header.type === "\0" && path.endsWith("/") ? "directory" : kinds[header.type];
    if (kind === undefined) throw new TarError(`entry of unknown type ${JSON.stringify(header.type)}`);
    const stored = kind === "file" ? (paxNumber(pax, "size") ?? header.size) : 0;
    const entry = { ...metaOf(header, pax), kind, path, target: "", size: stored } satisfies TarEntry;
    const target =
      kind === "symlink" || kind === "hardlink" ? (pax.get("linkpath") ?? this.#longLink ?? header.linkName) : "";
    this.#own = [];
    this.#longName = undefined;
    this.#longLink = undefined;
    return { entry: { ...entry, target }, stored, pax };
  }
}

function metaOf(header: TarHeader, pax: ReadonlyMap<string, string>) {
  const mtime = pax.get("mtime");
  const time = mtime === undefined ? { seconds: header.mtime, nanoseconds: 0 } : paxTime(mtime);
  const uid = paxNumber(pax, "uid") ?? header.uid;
  const gid = paxNumber(pax, "gid") ?? header.gid;
  for (const id of [uid, gid]) {
    // 2³²−1 is "no change" to the kernel
    if (id < 0 || id >= 0xffffffff) throw new TarError(`owner ${id} is out of range`);
  }
  const xattrs = new Map<string, Buffer>();
  for (const [key, value] of pax) {
    if (key.startsWith("SCHILY.xattr.")) xattrs.set(key.slice(13), Buffer.from(value, "latin1"));
  }
  const { deviceMajor, deviceMinor } = header;
  for (const device of [deviceMajor, deviceMinor]) {
    if (device < 0 || device > 0xffffffff) throw new TarError(`device number ${device} is out of range`);
  }
  return {
    mode: header.mode & 0o7777,
    uid,
    gid,
    mtimeSeconds: time.seconds,
    mtimeNanoseconds: time.nanoseconds,
    deviceMajor,
    deviceMinor,
    xattrs,
  };
}

function padding(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

function padded(size: number): number {
  return size + padding(size);
}

function untilNul(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString("latin1", 0, end < 0 ? bytes.length : end);
}

import { constants, inflateRawSync } from "node:zlib";
import { DICTIONARY_ID, dictionary } from "./dictionary.ts";
import { SpdyError } from "./spdy-error.ts";

/** A stream's headers: names in lower case. Only the first of several values of one name is kept. */
export type Headers = ReadonlyMap<string, string>;

/** A stream is described by three short headers; what needs more than this is no client of ours. */
const MAX_BLOCK_BYTES = 16 * 1024;
const MAX_HEADERS = 64;
const WINDOW_BYTES = 32 * 1024;
const SYNC_FLUSH = Buffer.from([0, 0, 0xff, 0xff]);

/**
 * Inflates the header blocks of one direction of a connection, which together are one zlib stream. SPDY ends each block
 * with a sync flush, on a whole byte, so that a block needs nothing of those before it but their last 32 KiB of text:
 * one short synchronous call with a bound on what comes out, and no native state to free.
 */
export class HeaderInflater {
  #window: Buffer = Buffer.alloc(0);
  #hasBegun = false;

  /** The next block. Throws SpdyError when it is malformed or would be too large. */
  inflate(block: Buffer): Headers {
    const deflated = this.#hasBegun ? block : this.#begin(block);
    if (!deflated.subarray(-SYNC_FLUSH.length).equals(SYNC_FLUSH)) {
      throw new SpdyError("a header block does not end with a sync flush");
    }
    const text = inflateBounded(deflated, this.#window);
    const known = Buffer.concat([this.#window, text]);
    this.#window = known.subarray(-WINDOW_BYTES);
    return parseHeaders(text);
  }

  /** Reads the zlib header (RFC 1950) and answers what is behind it. */
  #begin(block: Buffer): Buffer {
    if (block.length < 2) throw new SpdyError("a header block is too short");
    const header = block.readUInt16BE(0);
    if ((header & 0x0f00) !== 0x0800 || header % 31 !== 0) throw new SpdyError("a header block is not a zlib stream");
    this.#hasBegun = true;
    if ((header & 0x20) === 0) return block.subarray(2);
    if (block.length < 6 || block.readUInt32BE(2) !== DICTIONARY_ID) {
      throw new SpdyError("a header block uses a dictionary that is not that of SPDY/3");
    }
    this.#window = dictionary;
    return block.subarray(6);
  }
}

function inflateBounded(deflated: Buffer, window: Buffer): Buffer {
  const dictionaryOption = window.length === 0 ? {} : { dictionary: window };
  try {
    const { Z_SYNC_FLUSH: finishFlush } = constants;
    return inflateRawSync(deflated, { ...dictionaryOption, finishFlush, maxOutputLength: MAX_BLOCK_BYTES });
  } catch (error) {
    throw new SpdyError("a header block cannot be inflated, or is too large", { cause: error });
  }
}

/** Number of pairs, then each name and value behind its length, all in 32 bits. */
function parseHeaders(block: Buffer): Headers {
  const reader = new BlockReader(block);
  const count = reader.number();
  if (count > MAX_HEADERS) throw new SpdyError(`a header block has ${count} headers; at most ${MAX_HEADERS} are taken`);
  const headers = new Map<string, string>();
  for (let index = 0; index < count; index += 1) {
    const name = reader.text().toLowerCase();
    const [value = ""] = reader.text().split("\0");
    if (name === "" || headers.has(name)) throw new SpdyError("a header has no name, or is there twice");
    headers.set(name, value);
  }
  return headers;
}

class BlockReader {
  readonly #block: Buffer;
  #at = 0;

  constructor(block: Buffer) {
    this.#block = block;
  }

  number(): number {
    return this.#take(4).readUInt32BE(0);
  }

  text(): string {
    return this.#take(this.number()).toString("latin1");
  }

  #take(length: number): Buffer {
    const bytes = this.#block.subarray(this.#at, this.#at + length);
    if (bytes.length < length) throw new SpdyError("a header block is cut short");
    this.#at += length;
    return bytes;
  }
}

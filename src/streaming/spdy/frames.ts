/** Types of control frames (SPDY/3, section 2.6). Others are passed over, as the protocol asks. */
export const controlType = {
  synStream: 1,
  synReply: 2,
  rstStream: 3,
  ping: 6,
  goAway: 7,
  headers: 8,
} as const;

export const FLAG_FIN = 1;
export const FLAG_UNIDIRECTIONAL = 2;

/** Why a stream is reset (section 2.6.3). */
export const resetStatus = { protocolError: 1, invalidStream: 2, refusedStream: 3, alreadyClosed: 9 } as const;

/** Why a connection ends (section 2.6.6). */
export const goAwayStatus = { ok: 0, protocolError: 1 } as const;

export const FRAME_HEADER = 8;
export const MAX_DATA_BYTES = 0xff_ffff;
const CONTROL_BIT_AND_VERSION = 0x8003;

/** What precedes `length` bytes of data, at most MAX_DATA_BYTES. */
export function dataHeader(streamId: number, length: number, flags: number): Buffer {
  const header = Buffer.allocUnsafe(FRAME_HEADER);
  header.writeUInt32BE(streamId, 0);
  header.writeUInt32BE(flags * 0x100_0000 + length, 4);
  return header;
}

export function rstStream(streamId: number, status: number): Buffer {
  return control(controlType.rstStream, streamId, status);
}

export function ping(id: number): Buffer {
  return control(controlType.ping, id);
}

export function goAway(lastStreamId: number, status: number): Buffer {
  return control(controlType.goAway, lastStreamId, status);
}

/**
 * No headers, as zlib's stored blocks: the zlib header (once for the connection), four bytes that say zero, and a sync
 * flush. Compressing nothing would cost every connection a window.
 */
const NO_HEADERS = Buffer.from([0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
const ZLIB_HEADER = Buffer.from([0x78, 0x01]);

/** Accepts a stream. `isFirst`: nothing with headers was sent on this connection before. */
export function synReply(streamId: number, isFirst: boolean): Buffer {
  const block = isFirst ? [ZLIB_HEADER, NO_HEADERS] : [NO_HEADERS];
  const length = 4 + block.reduce((sum, { length }) => sum + length, 0);
  return Buffer.concat([controlHeader(controlType.synReply, length), word(streamId), ...block]);
}

function control(type: number, ...words: readonly number[]): Buffer {
  return Buffer.concat([controlHeader(type, words.length * 4), ...words.map(word)]);
}

function controlHeader(type: number, length: number): Buffer {
  const header = Buffer.allocUnsafe(FRAME_HEADER);
  header.writeUInt16BE(CONTROL_BIT_AND_VERSION, 0);
  header.writeUInt16BE(type, 2);
  header.writeUInt32BE(length, 4);
  return header;
}

function word(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value, 0);
  return bytes;
}

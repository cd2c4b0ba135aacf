import { FLAG_FIN, FRAME_HEADER } from "./frames.ts";
import { SpdyError } from "./spdy-error.ts";

/** What a parser tells, in the order of the bytes. What these throw ends the parsing. */
export interface FrameReceiver {
  /** A whole control frame. The payload is the receiver's own. */
  controlFrame(type: number, flags: number, payload: Buffer): void;
  /** A piece of a data frame, which may belong to the chunk that was pushed. `isLast`: the stream ends with it. */
  streamData(streamId: number, piece: Buffer, isLast: boolean): void;
}

/** Larger than any block of headers that is taken. */
const MAX_CONTROL_BYTES = 32 * 1024;
const VERSION = 3;

type Body =
  | {
      readonly kind: "control";
      readonly type: number;
      readonly flags: number;
      readonly payload: Buffer;
      filled: number;
    }
  | { readonly kind: "data"; readonly streamId: number; readonly isFin: boolean; left: number };

/** Cuts a client's bytes into SPDY/3.1 frames, however they were chunked; data is passed on as it comes, not collected. */
export class FrameParser {
  readonly #receiver: FrameReceiver;
  readonly #head = Buffer.alloc(FRAME_HEADER);
  #headLength = 0;
  #body: Body | undefined;

  constructor(receiver: FrameReceiver) {
    this.#receiver = receiver;
  }

  /** Takes all of the chunk. Throws SpdyError when it breaks the protocol; nothing may be pushed after that. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      at += this.#body === undefined ? this.#readHead(chunk, at) : this.#readBody(this.#body, chunk, at);
    }
  }

  /** Answers how many bytes it took. */
  #readHead(chunk: Buffer, at: number): number {
    const taken = chunk.copy(this.#head, this.#headLength, at, at + FRAME_HEADER - this.#headLength);
    this.#headLength += taken;
    if (this.#headLength < FRAME_HEADER) return taken;
    this.#headLength = 0;
    const first = this.#head.readUInt32BE(0);
    const flags = this.#head.readUInt8(4);
    const length = this.#head.readUIntBE(5, 3);
    if (first >= 0x8000_0000) this.#beginControl(first, flags, length);
    else this.#beginData(first, (flags & FLAG_FIN) !== 0, length);
    return taken;
  }

  #beginControl(first: number, flags: number, length: number): void {
    const version = (first >>> 16) & 0x7fff;
    if (version !== VERSION) throw new SpdyError(`a control frame of SPDY version ${version}, not ${VERSION}`);
    if (length > MAX_CONTROL_BYTES) throw new SpdyError(`a control frame of ${length} bytes`);
    const type = first & 0xffff;
    if (length === 0) this.#receiver.controlFrame(type, flags, Buffer.alloc(0));
    else this.#body = { kind: "control", type, flags, payload: Buffer.alloc(length), filled: 0 };
  }

  #beginData(streamId: number, isFin: boolean, length: number): void {
    if (streamId === 0) throw new SpdyError("data of stream 0");
    if (length > 0) this.#body = { kind: "data", streamId, isFin, left: length };
    else this.#receiver.streamData(streamId, Buffer.alloc(0), isFin);
  }

  #readBody(body: Body, chunk: Buffer, at: number): number {
    if (body.kind === "control") {
      const taken = chunk.copy(body.payload, body.filled, at);
      body.filled += taken;
      if (body.filled < body.payload.length) return taken;
      this.#body = undefined;
      this.#receiver.controlFrame(body.type, body.flags, body.payload);
      return taken;
    }
    const piece = chunk.subarray(at, at + body.left);
    body.left -= piece.length;
    if (body.left === 0) this.#body = undefined;
    this.#receiver.streamData(body.streamId, piece, body.isFin && body.left === 0);
    return piece.length;
  }
}

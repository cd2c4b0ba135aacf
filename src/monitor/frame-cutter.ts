import { cutFrame, FRAME_HEADER, type Frame, WireError } from "../lib/wire.ts";
import { EVENT } from "./protocol.ts";

/** `u8 stream, u32 length`, before the bytes of an output event. */
const OUTPUT_PRELUDE = 5;
const NOTHING = Buffer.alloc(0);

export interface CutterEvents {
  /** Part of an output event: a view of what was pushed, never a copy. */
  readonly onOutput: (stream: "stdout" | "stderr", data: Buffer) => void;
  /** Any other frame, whole. */
  readonly onFrame: (frame: Frame) => void;
}

/** Cuts a stream of frames, however it was chunked, and lets output through as it comes: it is not put together first. */
export class FrameCutter {
  readonly #events: CutterEvents;
  #waiting: Buffer = NOTHING;
  #stream: "stdout" | "stderr" = "stdout";
  /** Bytes of the current output event that are still to come. */
  #output = 0;

  constructor(events: CutterEvents) {
    this.#events = events;
  }

  /** Throws `WireError` where it is no stream of frames. */
  push(chunk: Buffer): void {
    let rest = this.#waiting.length === 0 ? chunk : Buffer.concat([this.#waiting, chunk]);
    this.#waiting = NOTHING;
    for (;;) {
      const length = this.#output > 0 ? this.#passOn(rest) : this.#next(rest);
      if (length === 0) break;
      rest = rest.subarray(length);
    }
    this.#waiting = rest;
  }

  #passOn(bytes: Buffer): number {
    const data = bytes.subarray(0, this.#output);
    if (data.length === 0) return 0;
    this.#output -= data.length;
    this.#events.onOutput(this.#stream, data);
    return data.length;
  }

  /** How many bytes were understood; 0: more are needed. */
  #next(bytes: Buffer): number {
    if (bytes.length >= FRAME_HEADER && bytes.readUInt16LE(4) === EVENT.execOutput) return this.#beginOutput(bytes);
    const frame = cutFrame(bytes);
    if (frame === undefined) return 0;
    this.#events.onFrame(frame);
    return FRAME_HEADER + frame.payload.length;
  }

  #beginOutput(bytes: Buffer): number {
    const prelude = FRAME_HEADER + OUTPUT_PRELUDE;
    if (bytes.length < prelude) return 0;
    const length = bytes.readUInt32LE(0);
    if (length !== bytes.readUInt32LE(FRAME_HEADER + 1) + OUTPUT_PRELUDE) throw new WireError("output of two lengths");
    this.#stream = bytes.readUInt8(FRAME_HEADER) === 2 ? "stderr" : "stdout";
    this.#output = length - OUTPUT_PRELUDE;
    return prelude;
  }
}

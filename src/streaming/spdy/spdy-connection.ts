import { Inbox } from "../inbox.ts";
import { ReadGate } from "../read-gate.ts";
import { MAX_ANSWER_BYTES, type Receiver, type Transport } from "../transport.ts";
import { FrameParser, type FrameReceiver } from "./frame-parser.ts";
import {
  controlType,
  dataHeader,
  FLAG_FIN,
  FLAG_UNIDIRECTIONAL,
  goAway,
  goAwayStatus,
  MAX_DATA_BYTES,
  ping,
  resetStatus,
  rstStream,
  synReply,
} from "./frames.ts";
import { HeaderInflater, type Headers } from "./header-block.ts";
import { SpdyError } from "./spdy-error.ts";
import { SpdyStream, type StreamLink } from "./spdy-stream.ts";

/** What is done with the streams of one connection. */
export interface StreamAcceptor {
  /** Who takes a stream with these headers; undefined refuses it. Decides at once and acts in what it answers. */
  accept(id: number, headers: Headers): ((stream: SpdyStream) => void) | undefined;
  /** Once: the client has gone or broke the protocol. Not after `close`. */
  gone(reason: Error): void;
}

const MAX_STREAMS = 256;

/**
 * The server's side of SPDY/3.1 without flow control: Kubernetes' clients neither send nor heed WINDOW_UPDATE. A stream
 * that is not taken stops the reading of the whole connection.
 */
export class SpdyConnection implements Receiver, FrameReceiver, StreamLink {
  readonly #transport: Transport;
  readonly #acceptor: StreamAcceptor;
  readonly #parser = new FrameParser(this);
  readonly #inflater = new HeaderInflater();
  readonly #streams = new Map<number, SpdyStream>();
  readonly #gate: ReadGate;
  /** Of the last data of a stream that was never opened. */
  #unknownId = 0;
  #lastId = 0;
  #pings = 0;
  #hasReplied = false;
  #isClientLeaving = false;
  #isWaitingToAnswer = false;
  #isOver = false;

  /** The transport's receiver must be this; the connection owns it from here on. */
  constructor(transport: Transport, acceptor: StreamAcceptor) {
    this.#transport = transport;
    this.#acceptor = acceptor;
    this.#gate = new ReadGate(transport, () => this.#probe());
  }

  /** Says goodbye, sends what was written and ends. Streams that are open are cut off. */
  close(): void {
    if (this.#isOver) return;
    this.#answer(goAway(this.#lastId, goAwayStatus.ok));
    this.#end();
    this.#transport.end();
  }

  data(chunk: Buffer): void {
    if (this.#isOver) return;
    try {
      this.#parser.push(chunk);
    } catch (error) {
      if (!(error instanceof SpdyError)) throw error;
      this.#answer(goAway(this.#lastId, goAwayStatus.protocolError));
      this.#transport.end();
      this.gone(error);
    }
  }

  gone(reason: Error): void {
    if (this.#isOver) return;
    this.#end();
    this.#acceptor.gone(reason);
  }

  controlFrame(type: number, flags: number, payload: Buffer): void {
    if (this.#isOver) return;
    // SETTINGS and WINDOW_UPDATE have no meaning here, and what is unknown is passed over.
    if (type === controlType.synStream) this.#synStream(flags, payload);
    else if (type === controlType.synReply) throw new SpdyError("a reply to a stream that was never opened");
    else if (type === controlType.rstStream) this.#streams.get(streamIdIn(payload, 8))?.cutOff();
    else if (type === controlType.ping) this.#pinged(wordAt(payload, 0));
    else if (type === controlType.goAway) this.#isClientLeaving = true;
    else if (type === controlType.headers) this.#headers(flags, payload);
  }

  streamData(streamId: number, piece: Buffer, isLast: boolean): void {
    if (this.#isOver) return;
    const stream = this.#streams.get(streamId);
    if (stream?.isInputOpen === true) stream.received(piece, isLast);
    else if (stream !== undefined) stream.reset(resetStatus.alreadyClosed);
    // What a client sent before it knew that its stream has ended is dropped.
    else if (streamId > this.#lastId) this.#neverOpened(streamId);
  }

  send(streamId: number, data: Buffer, isLast: boolean): void {
    let at = 0;
    do {
      const piece = data.subarray(at, at + MAX_DATA_BYTES);
      at += piece.length;
      const flags = isLast && at === data.length ? FLAG_FIN : 0;
      this.#transport.write([dataHeader(streamId, piece.length, flags), piece]);
    } while (at < data.length);
  }

  reset(streamId: number, status: number): void {
    this.#answer(rstStream(streamId, status));
  }

  drained(): Promise<void> {
    return this.#transport.drained();
  }

  over(streamId: number): void {
    this.#streams.delete(streamId);
  }

  /** Told once, however many pieces its data comes in. */
  #neverOpened(streamId: number): void {
    if (streamId === this.#unknownId) return;
    this.#unknownId = streamId;
    this.#answer(rstStream(streamId, resetStatus.invalidStream));
  }

  #synStream(flags: number, payload: Buffer): void {
    const id = streamIdIn(payload, 10);
    // Always: what follows can be inflated only with this.
    const headers = this.#inflater.inflate(payload.subarray(10));
    if (id % 2 === 0 || id <= this.#lastId) throw new SpdyError(`a stream with the number ${id} after ${this.#lastId}`);
    this.#lastId = id;
    const isRefused = this.#isClientLeaving || this.#streams.size >= MAX_STREAMS || (flags & FLAG_UNIDIRECTIONAL) !== 0;
    const take = isRefused ? undefined : this.#acceptor.accept(id, headers);
    if (take === undefined) {
      this.#answer(rstStream(id, resetStatus.refusedStream));
      return;
    }
    const stream = new SpdyStream(id, headers, new Inbox(this.#gate), this);
    this.#streams.set(id, stream);
    this.#answer(synReply(id, !this.#hasReplied));
    this.#hasReplied = true;
    take(stream);
    if ((flags & FLAG_FIN) !== 0) stream.received(Buffer.alloc(0), true);
  }

  #headers(flags: number, payload: Buffer): void {
    const stream = this.#streams.get(streamIdIn(payload, 4));
    this.#inflater.inflate(payload.subarray(4));
    if ((flags & FLAG_FIN) !== 0 && stream?.isInputOpen === true) stream.received(Buffer.alloc(0), true);
  }

  /** A client's own pings are odd; even ones are answers to ours. */
  #pinged(id: number): void {
    if (id % 2 === 1) this.#answer(ping(id));
  }

  #probe(): void {
    this.#pings += 2;
    if (this.#transport.backlogBytes === 0) this.#transport.write([ping(this.#pings % 0x8000_0000)]);
  }

  /** What a client provokes is bounded as well: who does not take answers is not listened to. */
  #answer(frame: Buffer): void {
    this.#transport.write([frame]);
    if (this.#isWaitingToAnswer || this.#transport.backlogBytes < MAX_ANSWER_BYTES) return;
    this.#isWaitingToAnswer = true;
    this.#gate.hold();
    void this.#transport.drained().then(() => {
      this.#isWaitingToAnswer = false;
      this.#gate.release();
    });
  }

  #end(): void {
    this.#isOver = true;
    this.#gate[Symbol.dispose]();
    for (const stream of this.#streams.values()) stream.cutOff();
  }
}

/** The number of the stream that a control frame with at least `minBytes` is about. */
function streamIdIn(payload: Buffer, minBytes: number): number {
  if (payload.length < minBytes) throw new SpdyError("a control frame is too short");
  return wordAt(payload, 0) & 0x7fff_ffff;
}

function wordAt(payload: Buffer, at: number): number {
  if (payload.length < at + 4) throw new SpdyError("a control frame is too short");
  return payload.readUInt32BE(at);
}

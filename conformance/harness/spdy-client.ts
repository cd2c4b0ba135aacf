import type { ConnectionOptions } from "node:tls";
import { constants, createDeflate, createInflate, type Deflate, type Inflate } from "node:zlib";
import { type Link, upgrade } from "./upgraded.ts";

/**
 * A client of SPDY/3.1 as Kubernetes' clients are: without flow control. It shares no code with the server, so that their
 * mistakes do not cancel out; it uses no preset dictionary, which only Go's clients do here.
 */
export class SpdyClient implements AsyncDisposable {
  /** What the server chose; "" in a tunnel. */
  readonly protocol: string;
  /** Resolves when the connection has ended, whoever ended it. */
  readonly closed: Promise<void>;
  readonly #link: Link;
  readonly #deflate: Deflate = createDeflate();
  readonly #inflate: Inflate = createInflate();
  readonly #streams = new Map<number, ClientStream>();
  readonly #pings = new Map<number, () => void>();
  readonly #reader = new FrameReader(
    (type, flags, payload) => this.#control(type, flags, payload),
    (id, data, isLast) => this.#streams.get(id)?.received(data, isLast),
  );
  #last = Promise.resolve();
  #lastReply = Promise.resolve();
  #nextId = 1;
  #nextPing = 1;
  /** Status of the server's GOAWAY. */
  goAway: number | undefined;

  constructor(link: Link, protocol = "") {
    this.#link = link;
    this.protocol = protocol;
    this.closed = link.closed.then(() => {
      for (const stream of this.#streams.values()) stream.cut();
    });
    link.receive((bytes) => this.#reader.push(bytes));
  }

  /** Rejects with NotUpgraded when the server refuses. */
  static async connect(url: string, protocols: readonly string[], tls?: ConnectionOptions): Promise<SpdyClient> {
    const versions = protocols.map((protocol) => `X-Stream-Protocol-Version: ${protocol}`);
    const { answer, link } = await upgrade(url, "POST", ["Connection: Upgrade", "Upgrade: SPDY/3.1", ...versions], tls);
    return new SpdyClient(link, answer.headers.get("x-stream-protocol-version")?.[0]);
  }

  /** Opens a stream; resolves when the server has accepted it, rejects when it resets it. */
  async open(headers: Readonly<Record<string, string>>): Promise<ClientStream> {
    const stream = this.begin(headers);
    await stream.accepted;
    return stream;
  }

  /** Opens a stream without waiting for the answer. */
  begin(headers: Readonly<Record<string, string>>): ClientStream {
    const id = this.#nextId;
    this.#nextId += 2;
    const stream = new ClientStream(id, this.#link);
    this.#streams.set(id, stream);
    // Blocks are deflated one after another, and sent in that order.
    this.#last = this.#last.then(async () => {
      const block = await this.#deflated(headers);
      this.#link.send(control(1, 0, Buffer.concat([words(id, 0), Buffer.from([0, 0]), block])));
    });
    return stream;
  }

  /** Resolves when every stream that was begun is on its way. */
  async flushed(): Promise<void> {
    await this.#last;
  }

  /** Resolves with the answer. */
  ping(): Promise<void> {
    const id = this.#nextPing;
    this.#nextPing += 2;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#pings.set(id, resolve);
    this.#link.send(control(6, 0, words(id)));
    return promise;
  }

  /** Any bytes, for who wants to break the protocol. */
  raw(bytes: Buffer): void {
    this.#link.send(bytes);
  }

  /** Takes nothing more from the server. */
  stall(): void {
    this.#link.pause();
  }

  resume(): void {
    this.#link.resume();
  }

  /** Breaks the connection. */
  destroy(): void {
    this.#link.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.destroy();
    await this.closed;
    await this.#lastReply;
    this.#deflate.close();
    this.#inflate.close();
  }

  #control(type: number, flags: number, payload: Buffer): void {
    const id = payload.readUInt32BE(0);
    if (type === 2) this.#replied(id, flags, payload.subarray(4));
    else if (type === 3) this.#streams.get(id)?.wasReset(payload.readUInt32BE(4));
    else if (type === 6 && id % 2 === 0) this.#link.send(control(6, 0, payload));
    else if (type === 6) this.#pings.get(id)?.();
    else if (type === 7) this.goAway = payload.readUInt32BE(4);
    else throw new Error(`unexpected control frame of type ${type}`);
  }

  #replied(id: number, flags: number, block: Buffer): void {
    this.#streams.get(id)?.wasAccepted();
    this.#lastReply = this.#lastReply.then(async () => {
      const headers = await transformed(this.#inflate, block);
      if (!headers.equals(words(0)) || flags !== 0) throw new Error("a reply with headers or an end");
    });
  }

  #deflated(headers: Readonly<Record<string, string>>): Promise<Buffer> {
    const texts = Object.entries(headers).flatMap(([name, value]) => [name.toLowerCase(), value]);
    const parts = texts.flatMap((text) => [words(Buffer.byteLength(text)), Buffer.from(text)]);
    return transformed(this.#deflate, Buffer.concat([words(texts.length / 2), ...parts]));
  }
}

/** One stream of a client. Output is collected until somebody listens. */
export class ClientStream {
  readonly id: number;
  readonly accepted: Promise<void>;
  /** Resolves when the server has ended its side; rejects when it was reset or cut. */
  readonly ended: Promise<void>;
  readonly #link: Link;
  readonly #reply = Promise.withResolvers<void>();
  readonly #end = Promise.withResolvers<void>();
  readonly #chunks: Buffer[] = [];
  #listener: (data: Buffer) => void = (data) => void this.#chunks.push(Buffer.from(data));

  constructor(id: number, link: Link) {
    this.id = id;
    this.#link = link;
    this.accepted = this.#reply.promise;
    this.ended = this.#end.promise;
    this.accepted.catch(() => {});
    this.ended.catch(() => {});
  }

  /** Resolves when more may be written. */
  async write(data: Buffer | string): Promise<void> {
    const bytes = Buffer.from(data);
    this.#link.send(Buffer.concat([words(this.id, bytes.length), bytes]));
    await this.#link.drained();
  }

  /** Ends this side. */
  end(): void {
    this.#link.send(words(this.id, 0x0100_0000));
  }

  reset(status = 5): void {
    this.#link.send(control(3, 0, words(this.id, status)));
  }

  /** Output goes here instead of being collected. */
  listen(listener: (data: Buffer) => void): void {
    for (const chunk of this.#chunks.splice(0)) listener(chunk);
    this.#listener = listener;
  }

  /** All of the output, when it has ended. */
  async text(): Promise<string> {
    await this.ended;
    return Buffer.concat(this.#chunks).toString();
  }

  /** For the connection. */
  received(data: Buffer, isLast: boolean): void {
    if (data.length > 0) this.#listener(data);
    if (isLast) this.#end.resolve();
  }

  /** For the connection. */
  wasAccepted(): void {
    this.#reply.resolve();
  }

  /** For the connection. */
  wasReset(status: number): void {
    const error = new Error(`stream ${this.id} was reset with status ${status}`);
    this.#reply.reject(error);
    this.#end.reject(error);
  }

  /** For the connection. */
  cut(): void {
    const error = new Error(`stream ${this.id} was cut`);
    this.#reply.reject(error);
    this.#end.reject(error);
  }
}

class FrameReader {
  readonly #control: (type: number, flags: number, payload: Buffer) => void;
  readonly #data: (id: number, data: Buffer, isLast: boolean) => void;
  #rest: Buffer = Buffer.alloc(0);
  #dataLeft = 0;
  #id = 0;
  #isFin = false;

  constructor(
    onControl: (type: number, flags: number, payload: Buffer) => void,
    onData: (id: number, data: Buffer, isLast: boolean) => void,
  ) {
    this.#control = onControl;
    this.#data = onData;
  }

  push(chunk: Buffer): void {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (bytes.length > 0) {
      const taken = this.#dataLeft > 0 ? this.#takeData(bytes) : this.#takeFrame(bytes);
      if (taken === 0) break;
      bytes = bytes.subarray(taken);
    }
    this.#rest = bytes;
  }

  #takeData(bytes: Buffer): number {
    const data = bytes.subarray(0, this.#dataLeft);
    this.#dataLeft -= data.length;
    this.#data(this.#id, data, this.#isFin && this.#dataLeft === 0);
    return data.length;
  }

  #takeFrame(bytes: Buffer): number {
    if (bytes.length < 8) return 0;
    const first = bytes.readUInt32BE(0);
    const length = bytes.readUIntBE(5, 3);
    const flags = bytes.readUInt8(4);
    if (first < 0x8000_0000) {
      this.#id = first;
      this.#dataLeft = length;
      this.#isFin = flags === 1;
      if (length === 0) this.#data(first, Buffer.alloc(0), this.#isFin);
      return 8;
    }
    if (first >>> 16 !== 0x8003) throw new Error("a control frame that is not of SPDY/3");
    if (bytes.length < 8 + length) return 0;
    this.#control(first & 0xffff, flags, bytes.subarray(8, 8 + length));
    return 8 + length;
  }
}

/** What comes out of zlib for this input, after a sync flush. */
function transformed(zlib: Deflate | Inflate, input: Buffer): Promise<Buffer> {
  const { promise, resolve } = Promise.withResolvers<Buffer>();
  const chunks: Buffer[] = [];
  const collect = (chunk: Buffer) => void chunks.push(chunk);
  zlib.on("data", collect);
  zlib.write(input);
  zlib.flush(constants.Z_SYNC_FLUSH, () => {
    zlib.off("data", collect);
    resolve(Buffer.concat(chunks));
  });
  return promise;
}

function control(type: number, flags: number, payload: Buffer): Buffer {
  return Buffer.concat([words(0x8003_0000 + type, flags * 0x0100_0000 + payload.length), payload]);
}

function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, 4 * index);
  return bytes;
}

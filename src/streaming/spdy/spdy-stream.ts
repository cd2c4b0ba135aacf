import type { Inbox } from "../inbox.ts";
import type { Headers } from "./header-block.ts";

/** What a stream asks of its connection. */
export interface StreamLink {
  send(streamId: number, data: Buffer, isLast: boolean): void;
  reset(streamId: number, status: number): void;
  drained(): Promise<void>;
  /** Both sides have ended: nothing more is to be routed to it. */
  over(streamId: number): void;
}

/** One stream that a client has opened. Its own side and the client's end each by itself. */
export class SpdyStream {
  readonly id: number;
  readonly headers: Headers;
  /** What the client has sent; ends when the client ends its side, resets the stream or goes. */
  readonly input: Inbox;
  readonly #link: StreamLink;
  #listener: ((data: Buffer) => void) | undefined;
  #onCut: (() => void) | undefined;
  #hasClientEnded = false;
  #hasEnded = false;
  #isCut = false;

  constructor(id: number, headers: Headers, input: Inbox, link: StreamLink) {
    this.id = id;
    this.headers = headers;
    this.input = input;
    this.#link = link;
  }

  /** From now on input is told at once instead of kept. */
  listen(listener: (data: Buffer) => void): void {
    this.#listener = listener;
  }

  /** Resolves when the next bytes may be given. After the end nothing is sent. */
  write(data: Buffer): Promise<void> {
    if (this.#hasEnded || data.length === 0) return Promise.resolve();
    this.#link.send(this.id, data, false);
    return this.#link.drained();
  }

  /** Ends this side. */
  end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#link.send(this.id, Buffer.alloc(0), true);
    this.#settle();
  }

  /** Ends both sides at once; input that was not taken is dropped. */
  reset(status: number): void {
    if (this.#hasEnded && this.#hasClientEnded) return;
    this.#link.reset(this.id, status);
    this.cutOff();
  }

  /**
   * Told once both sides were ended at once, by a reset or because the client has gone; at once if they were. One listener. Until
   * it is disposed of the client can reset the stream, also when both sides have ended.
   */
  whenCut(listener: () => void): Disposable {
    if (this.#isCut) listener();
    else this.#onCut = listener;
    return {
      [Symbol.dispose]: () => {
        this.#onCut = undefined;
        this.#settle();
      },
    };
  }

  /** False once the client has ended its side. */
  get isInputOpen(): boolean {
    return !this.#hasClientEnded;
  }

  /** For the connection: what the client sent. */
  received(data: Buffer, isLast: boolean): void {
    if (this.#listener !== undefined) this.#listener(data);
    else this.input.push(data);
    if (!isLast) return;
    this.#hasClientEnded = true;
    this.input.end();
    this.#settle();
  }

  /** For the connection: the client has reset it, or has gone. */
  cutOff(): void {
    this.#hasEnded = true;
    this.#hasClientEnded = true;
    this.input.close();
    this.#link.over(this.id);
    if (this.#isCut) return;
    this.#isCut = true;
    this.#onCut?.();
  }

  #settle(): void {
    if (this.#hasEnded && this.#hasClientEnded && this.#onCut === undefined) this.#link.over(this.id);
  }
}

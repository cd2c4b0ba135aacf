import type { CommandChannels } from "../command.ts";
import { type Ending, endingAsStatus, endingAsText } from "../ending.ts";
import { Inbox } from "../inbox.ts";
import { ReadGate } from "../read-gate.ts";
import type { StreamChoice, TerminalSize } from "../runtime.ts";
import { TerminalSizes } from "../terminal-sizes.ts";
import type { MessageTransport, Receiver } from "../transport.ts";
import { type ChannelProtocol, channel, decodeMessage, encodeMessage } from "./channel-protocol.ts";

/** The client's side of one exec or attach over WebSocket. */
export class WebSocketCommand implements Receiver, CommandChannels {
  readonly #transport: MessageTransport;
  readonly #choice: StreamChoice;
  readonly #protocol: ChannelProtocol;
  readonly #gone: (reason: Error) => void;
  readonly #gate: ReadGate;
  readonly #input: Inbox;
  readonly #sizes = new TerminalSizes();
  #lastSize: TerminalSize | undefined;
  #onSize: ((size: TerminalSize) => void) | undefined;

  /** It must become the transport's receiver. `gone` is told once when the client leaves before the end. */
  constructor(
    transport: MessageTransport,
    choice: StreamChoice,
    protocol: ChannelProtocol,
    gone: (reason: Error) => void,
  ) {
    this.#transport = transport;
    this.#choice = choice;
    this.#protocol = protocol;
    this.#gone = gone;
    this.#gate = new ReadGate(transport, () => transport.ping());
    this.#input = new Inbox(this.#gate);
  }

  /** Clients wait for one message, which may be empty, to know that they are connected. */
  greet(): void {
    const { stdout, stderr } = this.#choice;
    const first = stdout ? channel.stdout : stderr ? channel.stderr : channel.error;
    this.#send(first, Buffer.alloc(0));
  }

  data(message: Buffer): void {
    const decoded = decodeMessage(this.#protocol, message);
    if (decoded?.channel === channel.stdin && this.#choice.stdin) this.#input.push(decoded.data);
    else if (decoded?.channel === channel.resize) this.#resize(decoded.data);
    else if (decoded?.channel === channel.close && this.#protocol.hasClose && decoded.data[0] === channel.stdin) {
      this.#input.end();
    }
  }

  gone(reason: Error): void {
    this.#end();
    this.#gone(reason);
  }

  get stdin(): AsyncIterable<Buffer> | undefined {
    return this.#choice.stdin ? this.#input : undefined;
  }

  onResize(listener: (size: TerminalSize) => void): void {
    this.#onSize = listener;
    if (this.#lastSize !== undefined) listener(this.#lastSize);
  }

  write(stream: "stdout" | "stderr", data: Buffer): Promise<void> {
    if (!this.#choice[stream]) return Promise.resolve();
    this.#send(channel[stream], data);
    return this.#transport.drained();
  }

  finish(ending: Ending): void {
    const text = this.#protocol.hasStatus ? endingAsStatus(ending) : endingAsText(ending);
    if (text !== "") this.#send(channel.error, Buffer.from(text));
    this.#end();
    this.#transport.end();
  }

  #end(): void {
    this.#gate[Symbol.dispose]();
    this.#input.close();
  }

  #send(number: number, data: Buffer): void {
    this.#transport.write([encodeMessage(this.#protocol, number, data)]);
  }

  #resize(data: Buffer): void {
    for (const size of this.#sizes.push(data)) {
      this.#lastSize = size;
      this.#onSize?.(size);
    }
  }
}

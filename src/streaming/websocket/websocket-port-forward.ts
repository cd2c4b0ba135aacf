import type { Socket } from "node:net";
import { messageOf } from "../../lib/errors.ts";
import { forward } from "../forward.ts";
import { Inbox } from "../inbox.ts";
import { ReadGate } from "../read-gate.ts";
import type { MessageTransport, Receiver } from "../transport.ts";
import { type ChannelProtocol, decodeMessage, encodeMessage } from "./channel-protocol.ts";

/** The second channel of the last port has to have a number. */
export const MAX_FORWARDED_PORTS = 100;

/** One connection to each of some ports of a sandbox, over WebSocket: port i has channel 2i for bytes and 2i + 1 for errors. */
export class WebSocketPortForward implements Receiver {
  readonly #transport: MessageTransport;
  readonly #protocol: ChannelProtocol;
  readonly #ports: readonly number[];
  readonly #inputs: readonly Inbox[];
  readonly #gate: ReadGate;
  readonly #gone: (reason: Error) => void;

  /** It must become the transport's receiver. `gone` is told once when the client leaves before the end. */
  constructor(
    transport: MessageTransport,
    ports: readonly number[],
    protocol: ChannelProtocol,
    gone: (reason: Error) => void,
  ) {
    this.#transport = transport;
    this.#protocol = protocol;
    this.#ports = ports;
    this.#gone = gone;
    this.#gate = new ReadGate(transport, () => transport.ping());
    this.#inputs = ports.map(() => new Inbox(this.#gate));
  }

  /** Resolves when all connections have ended; never rejects. */
  async run(dial: (port: number, signal: AbortSignal) => Promise<Socket>, signal: AbortSignal): Promise<void> {
    this.#ports.forEach((port, index) => {
      const bytes = Buffer.alloc(2);
      bytes.writeUInt16LE(port, 0);
      this.#send(2 * index, bytes);
      this.#send(2 * index + 1, bytes);
    });
    await Promise.all(this.#inputs.map((input, index) => this.#serve(index, input, dial, signal)));
    this.#end();
    this.#transport.end();
  }

  data(message: Buffer): void {
    const decoded = decodeMessage(this.#protocol, message);
    if (decoded !== undefined && decoded.channel % 2 === 0) this.#inputs[decoded.channel / 2]?.push(decoded.data);
  }

  gone(reason: Error): void {
    this.#end();
    this.#gone(reason);
  }

  async #serve(
    index: number,
    input: Inbox,
    dial: (port: number, signal: AbortSignal) => Promise<Socket>,
    signal: AbortSignal,
  ): Promise<void> {
    const port = this.#ports[index] ?? 0;
    const write = (data: Buffer) => {
      this.#send(2 * index, data);
      return this.#transport.drained();
    };
    try {
      const pod = await dial(port, signal);
      const destroy = () => pod.destroy();
      signal.addEventListener("abort", destroy, { once: true });
      if (signal.aborted) destroy();
      // A client cannot end its half here, so the pod's end is that of both. What was received by then is the pod's.
      await forward({ input, isInputOpen: false, write, end: () => input.end() }, pod);
      signal.removeEventListener("abort", destroy);
    } catch (error) {
      this.#send(2 * index + 1, Buffer.from(`error forwarding port ${port}: ${messageOf(error)}`));
    } finally {
      input.close();
    }
  }

  #end(): void {
    this.#gate[Symbol.dispose]();
    for (const input of this.#inputs) input.close();
  }

  #send(number: number, data: Buffer): void {
    this.#transport.write([encodeMessage(this.#protocol, number, data)]);
  }
}

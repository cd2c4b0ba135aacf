import { DomainError } from "../../lib/errors.ts";
import { orAborted } from "../../lib/or-aborted.ts";
import type { CommandChannels } from "../command.ts";
import { type Ending, endingAsStatus, endingAsText } from "../ending.ts";
import type { StreamChoice, TerminalSize } from "../runtime.ts";
import { TerminalSizes } from "../terminal-sizes.ts";
import type { Headers } from "./header-block.ts";
import type { StreamAcceptor } from "./spdy-connection.ts";
import type { SpdyStream } from "./spdy-stream.ts";

/** Versions of the sub-protocol that are served over SPDY. A client's order of preference counts. */
export const commandProtocols = ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];

type Protocol = (typeof commandProtocols)[number];

/** Waits for the streams of one exec or attach, then is its client's side. */
export class SpdyCommand implements StreamAcceptor, CommandChannels {
  readonly #protocol: Protocol;
  readonly #missing: Set<string>;
  readonly #streams = new Map<string, SpdyStream>();
  readonly #complete = Promise.withResolvers<void>();
  readonly #gone: (reason: Error) => void;
  readonly #sizes = new TerminalSizes();
  #lastSize: TerminalSize | undefined;
  #onSize: ((size: TerminalSize) => void) | undefined;

  /** @param gone told once when the client leaves before the end */
  constructor(choice: StreamChoice, protocol: Protocol, gone: (reason: Error) => void) {
    this.#protocol = protocol;
    this.#gone = gone;
    this.#missing = new Set(streamsOf(choice, protocol));
    this.#complete.promise.catch(() => {}); // the client may go before anybody waits
  }

  /** Resolves when the client has opened all the streams that it asked for. */
  async complete(withinMs: number, signal: AbortSignal): Promise<void> {
    const late = () => {
      const missing = [...this.#missing].join(", ");
      this.#complete.reject(new DomainError("deadlineExceeded", `the client has not opened its streams: ${missing}`));
    };
    const timer = setTimeout(late, withinMs);
    try {
      await orAborted(this.#complete.promise, signal);
    } finally {
      clearTimeout(timer);
    }
  }

  accept(_id: number, headers: Headers): ((stream: SpdyStream) => void) | undefined {
    const type = headers.get("streamtype") ?? "";
    if (!this.#missing.delete(type)) return undefined;
    return (stream) => {
      this.#streams.set(type, stream);
      if (type === "resize") stream.listen((data) => this.#resize(data));
      else if (type !== "stdin") stream.listen(() => {}); // nothing is expected there
      if (this.#missing.size === 0) this.#complete.resolve();
    };
  }

  gone(reason: Error): void {
    this.#complete.reject(reason);
    this.#gone(reason);
  }

  get stdin(): AsyncIterable<Buffer> | undefined {
    return this.#streams.get("stdin")?.input;
  }

  onResize(listener: (size: TerminalSize) => void): void {
    this.#onSize = listener;
    if (this.#lastSize !== undefined) listener(this.#lastSize);
  }

  write(stream: "stdout" | "stderr", data: Buffer): Promise<void> {
    return this.#streams.get(stream)?.write(data) ?? Promise.resolve();
  }

  finish(ending: Ending): void {
    for (const name of ["stdout", "stderr"]) this.#streams.get(name)?.end();
    const text = this.#protocol === "v4.channel.k8s.io" ? endingAsStatus(ending) : endingAsText(ending);
    void this.#streams.get("error")?.write(Buffer.from(text));
    for (const stream of this.#streams.values()) stream.end();
  }

  #resize(data: Buffer): void {
    for (const size of this.#sizes.push(data)) {
      this.#lastSize = size;
      this.#onSize?.(size);
    }
  }
}

function streamsOf({ stdin, stdout, stderr, tty }: StreamChoice, protocol: Protocol): string[] {
  const hasResize = tty && protocol !== "v2.channel.k8s.io" && protocol !== "channel.k8s.io";
  const wanted = { error: true, stdin, stdout, stderr, resize: hasResize };
  return Object.entries(wanted).flatMap(([name, isWanted]) => (isWanted ? [name] : []));
}

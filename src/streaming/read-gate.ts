import type { Transport } from "./transport.ts";

/** All streams of one connection together. */
const CONNECTION_BYTES = 4 * 1024 * 1024;
/** A client that vanishes while nothing is read from it would not be noticed. */
const PROBE_MS = 15_000;

/** Decides when a connection is read: not while it holds too much that nobody takes. */
export class ReadGate implements Disposable {
  readonly #transport: Pick<Transport, "pause" | "resume">;
  readonly #probe: () => void;
  #bytes = 0;
  #holds = 0;
  #probing: NodeJS.Timeout | undefined;

  /** @param probe sends something that a living client answers and the kernel refuses for a dead one */
  constructor(transport: Pick<Transport, "pause" | "resume">, probe: () => void) {
    this.#transport = transport;
    this.#probe = probe;
  }

  /** More (or less) is held for those who have not taken it yet. */
  account(bytes: number): void {
    this.#bytes += bytes;
    this.#apply();
  }

  /** Not to be read until {@link release}. */
  hold(): void {
    this.#holds += 1;
    this.#apply();
  }

  release(): void {
    this.#holds -= 1;
    this.#apply();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#probing);
  }

  #apply(): void {
    const isShut = this.#holds > 0 || this.#bytes >= CONNECTION_BYTES;
    if (isShut === (this.#probing !== undefined)) return;
    if (isShut) {
      this.#transport.pause();
      this.#probing = setInterval(this.#probe, PROBE_MS).unref();
    } else {
      clearInterval(this.#probing);
      this.#probing = undefined;
      this.#transport.resume();
    }
  }
}

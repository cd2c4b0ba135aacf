/** What carries bytes or messages to one client and back. */
export interface Transport {
  /** What the client sends goes to `receiver` from now on; nothing is read before. */
  start(receiver: Receiver): void;
  /** Sends these parts in a row. They must not be changed afterwards. Nothing is sent once the client has gone. */
  write(parts: readonly Buffer[]): void;
  /** What was written and has not reached the kernel. */
  readonly backlogBytes: number;
  /** Resolves when little enough is waiting to be sent, or nothing ever will be. Who sends without bound waits for it. */
  drained(): Promise<void>;
  /** Nothing more is read, apart from what is under way. */
  pause(): void;
  resume(): void;
  /**
   * Sends what was written, then ends. A client is left behind that takes nothing of it for as long as nothing may be said on
   * the connection, or that was given all of it and does not end its side within {@link LINGER_MS}.
   */
  end(): void;
  /** Ends at once. */
  destroy(): void;
}

/** Messages instead of bytes: each part that is written is one, each that is received one chunk. */
export interface MessageTransport extends Transport {
  /** Nobody has to answer it at once, but a dead client's kernel refuses it. */
  ping(): void;
}

/** Told what comes from a client. */
export interface Receiver {
  data(chunk: Buffer): void;
  /** Once, when nothing can be said to the client any more; not after `end` or `destroy`. */
  gone(reason: Error): void;
}

/** Who sends without bound stops here. */
export const HIGH_WATER_BYTES = 256 * 1024;

/** Answers that a client provokes and does not take: beyond this it gets no more. */
export const MAX_ANSWER_BYTES = 512 * 1024;

/**
 * For a client to read what the kernel holds for it, which may be some megabytes, and to end its side: closing before that loses
 * them when the client says anything more.
 */
export const LINGER_MS = 120_000;

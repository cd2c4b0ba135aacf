import type { Receiver, Transport } from "../transport.ts";

/** A client that is memory: what is written is collected, and taken when the test says so. */
export class MemoryTransport implements Transport {
  readonly written: Buffer[] = [];
  backlogBytes = 0;
  isPaused = false;
  state: "open" | "ended" | "destroyed" = "open";
  /** Whether written bytes stay in the backlog. */
  isStalled = false;
  #drained = Promise.withResolvers<void>();

  start(_receiver: Receiver): void {}

  write(parts: readonly Buffer[]): void {
    this.written.push(...parts);
    if (this.isStalled) for (const { length } of parts) this.backlogBytes += length;
  }

  drained(): Promise<void> {
    return this.isStalled ? this.#drained.promise : Promise.resolve();
  }

  /** Takes all that is waiting. */
  take(): void {
    this.isStalled = false;
    this.backlogBytes = 0;
    this.#drained.resolve();
    this.#drained = Promise.withResolvers<void>();
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }

  end(): void {
    this.state = "ended";
  }

  destroy(): void {
    this.state = "destroyed";
  }

  /** What was written since the last look, in hex. */
  hex(): string {
    return Buffer.concat(this.written.splice(0)).toString("hex");
  }
}

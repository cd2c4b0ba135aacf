import { DomainError, messageOf } from "../lib/errors.ts";

/**
 * Says when writes to a file are on disk, without ever syncing on the event loop.
 *
 * A write is durable when a sync that *began* after it has ended. At most one sync runs at a time; all that was
 * written while it ran rides on the next one, so a hundred waiters cost two syncs and not a hundred.
 *
 * After a failed sync the kernel may have dropped the pages and marked them clean, and the next sync would succeed
 * without them (Linux, every file system). So a failure sticks: `durable` rejects until `reset`, which the owner
 * calls after everything was written anew elsewhere.
 */
export class GroupSync {
  readonly #sync: () => Promise<void>;
  #written = 0;
  #synced = 0;
  #running: { readonly covers: number; readonly ended: Promise<void> } | undefined;
  #failure: DomainError | undefined;
  #begun = 0;

  /** `sync` flushes the file to disk; it is never called twice at a time. */
  constructor(sync: () => Promise<void>) {
    this.#sync = sync;
  }

  /** To be called after each write, before anything is awaited. */
  written(): void {
    this.#written += 1;
  }

  /** Writes, and syncs that were begun for them. */
  get counts(): { readonly commits: number; readonly syncs: number } {
    return { commits: this.#written, syncs: this.#begun };
  }

  /** Why nothing can be called durable any more, or undefined. */
  get failure(): DomainError | undefined {
    return this.#failure;
  }

  /** Marks everything written as lost or doubtful: `durable` rejects with it from now on. */
  fail(cause: unknown): DomainError {
    this.#failure ??= new DomainError("unavailable", `state cannot be written to disk: ${messageOf(cause)}`, { cause });
    return this.#failure;
  }

  /** All that was written so far is on disk by other means (a new file, synced). */
  reset(): void {
    this.#failure = undefined;
    this.#synced = this.#written;
  }

  /** Resolves when everything written before this call is on disk; rejects with `unavailable` when that cannot be told. */
  async durable(): Promise<void> {
    const target = this.#written;
    while (this.#synced < target || this.#failure !== undefined) {
      if (this.#failure !== undefined) throw this.#failure;
      await this.#join();
    }
  }

  /** Waits for the sync that runs, if any; never rejects. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running.ended;
  }

  #join(): Promise<void> {
    this.#running ??= this.#start();
    return this.#running.ended;
  }

  #start(): { readonly covers: number; readonly ended: Promise<void> } {
    const covers = this.#written;
    this.#begun += 1;
    const ended = this.#sync().then(
      () => {
        this.#synced = Math.max(this.#synced, covers);
        this.#running = undefined;
      },
      (error: unknown) => {
        this.fail(error);
        this.#running = undefined;
      },
    );
    return { covers, ended };
  }
}

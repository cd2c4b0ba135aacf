import type { Operations } from "../launcher/operations.ts";
import { hasCode, messageOf } from "../lib/errors.ts";

/** What a tree of files takes on disk, and when it was looked at. */
export interface DiskUsage {
  readonly at: Temporal.Instant;
  readonly bytes: number;
  readonly inodes: number;
}

/** A tree to be measured. */
export interface DiskTree {
  readonly id: string;
  readonly path: string;
}

export interface DiskWalksPorts {
  readonly operations: Pick<Operations, "perform">;
  /** From the end of one round to the beginning of the next. */
  readonly intervalMs: number;
  readonly now: () => Temporal.Instant;
  readonly report: (message: string, fields: Readonly<Record<string, string>>) => void;
}

const AT_ONCE = 2;
const DEADLINE_MS = 60_000;

/**
 * What containers have written, found out by walks in the background: round after round, two trees at a time, each in
 * an operation of the launcher's with low priority. Who asks gets the last result with its age, and never waits.
 */
export class DiskWalks implements Disposable {
  readonly #ports: DiskWalksPorts;
  readonly #usages = new Map<string, DiskUsage>();
  readonly #failing = new Set<string>();
  readonly #stopping = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  constructor(ports: DiskWalksPorts) {
    this.#ports = ports;
  }

  /** Begins the first round at once; `trees` is asked at each. To be called once. */
  start(trees: () => readonly DiskTree[]): void {
    void this.#round(trees()).finally(() => {
      if (this.#stopping.signal.aborted) return;
      this.#timer = setTimeout(() => this.start(trees), this.#ports.intervalMs).unref();
    });
  }

  /** Undefined until it was measured for the first time. */
  of(id: string): DiskUsage | undefined {
    return this.#usages.get(id);
  }

  /** All that is known together. */
  total(): { readonly bytes: number; readonly inodes: number } {
    let [bytes, inodes] = [0, 0];
    for (const usage of this.#usages.values()) {
      bytes += usage.bytes;
      inodes += usage.inodes;
    }
    return { bytes, inodes };
  }

  /** An operation in flight goes on; nobody asks for its result. */
  [Symbol.dispose](): void {
    this.#stopping.abort();
    clearTimeout(this.#timer);
  }

  async #round(trees: readonly DiskTree[]): Promise<void> {
    const wanted = new Set(trees.map(({ id }) => id));
    for (const id of this.#usages.keys()) if (!wanted.has(id)) this.#usages.delete(id);
    for (const id of this.#failing) if (!wanted.has(id)) this.#failing.delete(id);
    const queue = trees.values();
    await Promise.all(Array.from({ length: AT_ONCE }, () => this.#walkAll(queue)));
  }

  async #walkAll(queue: Iterator<DiskTree> & Iterable<DiskTree>): Promise<void> {
    for (const tree of queue) {
      if (this.#stopping.signal.aborted) return;
      await this.#walk(tree);
    }
  }

  async #walk({ id, path }: DiskTree): Promise<void> {
    const { operations, now, report } = this.#ports;
    const at = now();
    try {
      const options = { owner: "stats", what: `measuring ${path}`, deadlineMs: DEADLINE_MS };
      const [text] = await operations.perform([{ op: "diskUsage", path }], options);
      const [bytes = 0, inodes = 0] = (text?.toString() ?? "").split(" ").map(Number);
      this.#usages.set(id, { at, bytes, inodes });
      this.#failing.delete(id);
    } catch (error) {
      // What takes too long today has a size all the same: the last that was found, with its age.
      if (!hasCode(error, "ETIMEDOUT")) this.#usages.delete(id);
      // It was removed meanwhile; or this daemon ends, and the launcher with it.
      if (hasCode(error, "ENOENT") || this.#stopping.signal.aborted || this.#failing.has(id)) return;
      this.#failing.add(id);
      report("a writable layer cannot be measured", { container: id, error: messageOf(error) });
    }
  }
}

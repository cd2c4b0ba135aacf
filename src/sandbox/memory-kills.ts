import { measured } from "../lib/measures.ts";

type Log = (message: string, fields: Readonly<Record<string, string>>) => void;

interface Count {
  readonly id: string;
  /** Since it was created. */
  readonly oomKills: bigint;
  /** They may have been others of its pod. */
  readonly isOfPod?: boolean;
}

type Found = Count & { readonly state: string; readonly acked: boolean };

/** Processes of containers that were killed for memory, each counted once, whether their container lives on or not. */
export class MemoryKills {
  readonly #log: Log;
  readonly #counted = new Map<string, bigint>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** The container lives, or its end is not told yet. */
  seen(sandboxId: string, count: Count): void {
    const more = this.#count(count);
    if (more === 0n) return;
    const fields = { sandbox: sandboxId, container: count.id, processes: String(more) };
    this.#log("the kernel killed processes of a container for want of memory", fields);
  }

  /** The reason of its end says so then. What others of the pod may have been is counted where they are. */
  ended(count: Count): void {
    if (count.isOfPod !== true) this.#count(count);
  }

  /** As a monitor of an earlier daemon tells: that one has counted what lives, and what it has stored the end of. */
  found({ state, acked, ...count }: Found): void {
    if (state === "exited" && !acked) this.ended(count);
    else if (state !== "exited" && !this.#counted.has(count.id)) this.#counted.set(count.id, count.oomKills);
  }

  /** The container is gone. */
  forget(id: string): void {
    this.#counted.delete(id);
  }

  #count({ id, oomKills }: Count): bigint {
    const more = oomKills - (this.#counted.get(id) ?? 0n);
    if (more <= 0n) return 0n;
    this.#counted.set(id, oomKills);
    measured({ kind: "oomKills", count: Number(more) });
    return more;
  }
}

import { measured } from "../lib/measures.ts";

type Log = (message: string, fields: Readonly<Record<string, string>>) => void;

interface Count {
  readonly id: string;
  /** Since it was created. */
  readonly oomKills: bigint;
}

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

  /** The reason of its end says so then. */
  ended(count: Count): void {
    this.#count(count);
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

interface Sample {
  readonly timeNs: bigint;
  readonly usageNs: number;
  readonly rate: number | undefined;
}

/** Shorter, and the rate would say more of the clock's ticks than of the work. */
const SHORTEST_NS = 100_000_000n;

/** How many CPUs are in use, told by the last two looks that were at least 100 ms apart. */
export class UsageRates {
  readonly #samples = new Map<string, Sample>();

  /** Nanoseconds of CPU per second of late; undefined at the first look, which has nothing to compare with. */
  observe(id: string, timeNs: bigint, usageNs: number): number | undefined {
    const last = this.#samples.get(id);
    // A clock that was set back makes them no further apart for as long as it was set back.
    if (last === undefined || usageNs < last.usageNs || timeNs < last.timeNs) {
      this.#samples.set(id, { timeNs, usageNs, rate: undefined });
      return undefined;
    }
    const elapsedNs = timeNs - last.timeNs;
    if (elapsedNs < SHORTEST_NS) return last.rate;
    const rate = Math.round(((usageNs - last.usageNs) / Number(elapsedNs)) * 1e9);
    this.#samples.set(id, { timeNs, usageNs, rate });
    return rate;
  }

  /** Forgets all for whom this is false. */
  keep(exists: (id: string) => boolean): void {
    for (const id of this.#samples.keys()) if (!exists(id)) this.#samples.delete(id);
  }

  get size(): number {
    return this.#samples.size;
  }
}

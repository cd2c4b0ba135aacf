/** Durations of one kind of call, in milliseconds. */
export interface Figures {
  readonly p50: number;
  readonly p99: number;
}

/** Times of competitors that take turns, so that what else the machine does meets all of them alike. */
export async function alternating<Name extends string>(
  competitors: Readonly<Record<Name, () => Promise<unknown>>>,
  rounds: number,
): Promise<Readonly<Record<Name, Figures>>> {
  const names = Object.keys(competitors) as Name[];
  const times = new Map<Name, number[]>(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    // Who goes first changes from round to round.
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      const start = performance.now();
      await competitors[name]();
      times.get(name)?.push(performance.now() - start);
    }
  }
  const figures = names.map((name) => [name, figuresOf(times.get(name) ?? [])] as const);
  return Object.fromEntries(figures) as Record<Name, Figures>;
}

/** The middle and the hundredth slowest of at least one duration. */
export function figuresOf(times: readonly number[]): Figures {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99) };
}

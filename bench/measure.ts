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
  const timed = mapped(competitors, (compete) => async () => {
    const start = performance.now();
    await compete();
    return performance.now() - start;
  });
  return mapped(await inTurns(timed, rounds), figuresOf);
}

/** What competitors answer that take turns; who goes first changes from round to round. */
export async function inTurns<Name extends string, Result>(
  competitors: Readonly<Record<Name, (round: number) => Promise<Result>>>,
  rounds: number,
): Promise<Readonly<Record<Name, readonly Result[]>>> {
  const names = Object.keys(competitors) as Name[];
  const results = mapped(competitors, (): Result[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      results[name].push(await competitors[name](round));
    }
  }
  return results;
}

/** The middle and the hundredth slowest of at least one duration. */
export function figuresOf(times: readonly number[]): Figures {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99) };
}

export function median(values: readonly number[]): number {
  return figuresOf(values).p50;
}

function mapped<Name extends string, From, To>(
  values: Readonly<Record<Name, From>>,
  change: (value: From) => To,
): Record<Name, To> {
  const entries = Object.entries<From>(values).map(([name, value]) => [name, change(value)]);
  return Object.fromEntries(entries); // the same names: only the values' type changes
}

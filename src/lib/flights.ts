import { DomainError } from "./errors.ts";
import { orAborted } from "./or-aborted.ts";
import { Stage } from "./stage.ts";

/** What the work of a flight may see of those who wait for it. */
export interface FlightControl {
  /** Aborts only when the work itself is to end: superseded by another request, or its sandbox is stopped. */
  readonly signal: AbortSignal;
  readonly stage: Stage;
  /** Whether at least one caller still waits for the answer. */
  isAwaited(): boolean;
}

interface Flight<Config> {
  readonly key: string;
  readonly config: Config;
  readonly control: AbortController;
  readonly stage: Stage;
  waiters: number;
  done: Promise<string>;
}

/**
 * Creations by name. A request for a name in flight receives the result of that flight when both ask for the
 * same; otherwise the older one is undone if nobody waits for it any more, and is in the way if somebody does.
 * A caller that gives up stops waiting; the work goes on.
 */
export class Flights<Config> {
  readonly #flights = new Map<string, Flight<Config>>();
  readonly #kind: string;
  readonly #same: (first: Config, second: Config) => boolean;

  constructor(kind: string, same: (first: Config, second: Config) => boolean) {
    this.#kind = kind;
    this.#same = same;
  }

  /** Resolves with what `work` resolves with. `work` starts at once when the name is free; it undoes its own failures. */
  async join(
    key: string,
    config: Config,
    work: (control: FlightControl) => Promise<string>,
    signal: AbortSignal,
  ): Promise<string> {
    for (let holder = this.#flights.get(key); holder !== undefined; holder = this.#flights.get(key)) {
      if (this.#same(holder.config, config)) return this.#wait(holder, signal);
      if (holder.waiters > 0) throw this.#held(holder);
      holder.control.abort(new DomainError("unavailable", `${this.#kind} ${key} is superseded by a newer request`));
      await orAborted(settled(holder.done), signal);
    }
    return this.#wait(this.#depart(key, config, work), signal);
  }

  /** Ends the flights whose key `matches`, and waits until they have undone what they did. */
  async abort(matches: (key: string) => boolean, reason: DomainError): Promise<void> {
    const ending = [...this.#flights.values()].filter(({ key }) => matches(key));
    for (const { control } of ending) control.abort(reason);
    await Promise.all(ending.map(({ done }) => settled(done)));
  }

  snapshot(): readonly {
    readonly key: string;
    readonly stage: string;
    readonly seconds: number;
    readonly waiters: number;
  }[] {
    return [...this.#flights.values()].map(({ key, stage, waiters }) => ({
      key,
      stage: stage.name,
      seconds: stage.seconds,
      waiters,
    }));
  }

  #depart(key: string, config: Config, work: (control: FlightControl) => Promise<string>): Flight<Config> {
    const control = new AbortController();
    const stage = new Stage(this.#kind, "starting");
    const flight: Flight<Config> = { key, config, control, stage, waiters: 0, done: Promise.resolve("") };
    this.#flights.set(key, flight);
    const isAwaited = () => flight.waiters > 0;
    flight.done = Promise.try(work, { signal: control.signal, stage, isAwaited }).finally(() => {
      stage.end();
      this.#flights.delete(key);
    });
    flight.done.catch(() => {}); // those who wait are told; nobody else need be
    return flight;
  }

  async #wait(flight: Flight<Config>, signal: AbortSignal): Promise<string> {
    flight.waiters += 1;
    try {
      return await orAborted(flight.done, signal);
    } finally {
      flight.waiters -= 1;
    }
  }

  #held({ key, stage }: Flight<Config>): DomainError {
    return new DomainError(
      "alreadyExists",
      `another request is creating ${this.#kind} ${key} with a different configuration; it is at: ${stage}`,
    );
  }
}

/** One run at a time per key: whoever asks while it runs shares its outcome. */
export class SingleFlight {
  readonly #running = new Map<string, Promise<void>>();

  /** Starts `work` unless it runs already; a caller that gives up stops waiting, the work goes on. */
  async run(key: string, work: () => Promise<void>, signal?: AbortSignal): Promise<void> {
    let running = this.#running.get(key);
    if (running === undefined) {
      running = Promise.try(work).finally(() => this.#running.delete(key));
      running.catch(() => {});
      this.#running.set(key, running);
    }
    await orAborted(running, signal);
  }

  keys(): readonly string[] {
    return [...this.#running.keys()];
  }
}

function settled(work: Promise<unknown>): Promise<void> {
  return work.then(
    () => {},
    () => {},
  );
}

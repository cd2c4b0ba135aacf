import { orAborted } from "../lib/or-aborted.ts";

interface Flight<T> {
  readonly control: AbortController;
  readonly done: Promise<T>;
  waiters: number;
}

/** Work by key that callers share, and that ends when the last of them has given up. */
export class SharedFlights<T> {
  readonly #flights = new Map<string, Flight<T>>();

  /** Keys of what is in flight, oldest first. */
  keys(): readonly string[] {
    return [...this.#flights.keys()];
  }

  /**
   * Settles as `work` does, or rejects with `signal.reason`. Whoever joins work of another caller that then fails does
   * its own: the other's source or credentials may have been at fault.
   */
  async join(key: string, work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    for (let other = this.#flights.get(key); other !== undefined; other = this.#flights.get(key)) {
      try {
        if (!other.control.signal.aborted) return await this.#wait(other, signal);
        await orAborted(settled(other.done), signal);
      } catch {
        signal.throwIfAborted();
      }
    }
    signal.throwIfAborted();
    return this.#wait(this.#depart(key, work), signal);
  }

  #depart(key: string, work: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const control = new AbortController();
    const done = Promise.try(work, control.signal).finally(() => this.#flights.delete(key));
    done.catch(() => {}); // those who wait are told
    const flight: Flight<T> = { control, done, waiters: 0 };
    this.#flights.set(key, flight);
    return flight;
  }

  async #wait(flight: Flight<T>, signal: AbortSignal): Promise<T> {
    flight.waiters += 1;
    try {
      return await orAborted(flight.done, signal);
    } finally {
      flight.waiters -= 1;
      if (flight.waiters === 0) flight.control.abort(new DOMException("nobody waits any more", "AbortError"));
    }
  }
}

function settled(work: Promise<unknown>): Promise<void> {
  return work.then(
    () => {},
    () => {},
  );
}

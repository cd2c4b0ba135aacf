/** Who waits for which container's end. */
export class Exits {
  readonly #waiting = new Map<string, PromiseWithResolvers<void>>();

  /** Resolves when `ended(id)` is called. Ask before making the container end, or check its state afterwards. */
  wait(id: string): Promise<void> {
    const waiting = this.#waiting.get(id) ?? Promise.withResolvers<void>();
    this.#waiting.set(id, waiting);
    return waiting.promise;
  }

  ended(id: string): void {
    this.#waiting.get(id)?.resolve();
    this.#waiting.delete(id);
  }

  /** The container is gone; nobody can be waiting any more. */
  forget(id: string): void {
    this.ended(id);
  }
}

interface Waiting<Item> {
  readonly item: Item;
  readonly bytes: number;
}

export interface QueueLimits {
  readonly items: number;
  readonly bytes: number;
}

/** What waits for one reader, in order and within bounds. What a waiting reader takes at once is not even measured. */
export class EventQueue<Item> {
  readonly #limits: QueueLimits;
  readonly #sizeOf: (item: Item) => number;
  readonly #waiting: Waiting<Item>[] = [];
  #bytes = 0;
  #reader: PromiseWithResolvers<Item> | undefined;

  constructor(limits: QueueLimits, sizeOf: (item: Item) => number) {
    this.#limits = limits;
    this.#sizeOf = sizeOf;
  }

  get length(): number {
    return this.#waiting.length;
  }

  /** False: it is full, and the item was not taken. A single item is taken whatever its size. */
  push(item: Item): boolean {
    if (this.#reader !== undefined) {
      this.#reader.resolve(item);
      this.#reader = undefined;
      return true;
    }
    const bytes = this.#sizeOf(item);
    const { length } = this.#waiting;
    if (length >= this.#limits.items || (length > 0 && this.#bytes + bytes > this.#limits.bytes)) return false;
    this.#waiting.push({ item, bytes });
    this.#bytes += bytes;
    return true;
  }

  /** The oldest, or the next to come. One call at a time. */
  next(): Promise<Item> {
    const oldest = this.#waiting.shift();
    if (oldest !== undefined) {
      this.#bytes -= oldest.bytes;
      return Promise.resolve(oldest.item);
    }
    this.#reader = Promise.withResolvers();
    return this.#reader.promise;
  }
}

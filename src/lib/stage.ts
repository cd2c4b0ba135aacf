/** What a piece of work is waiting for, and since when: `nacelle status` and error texts show it. */
export class Stage {
  #name: string;
  #since = performance.now();

  constructor(name: string) {
    this.#name = name;
  }

  enter(name: string): void {
    this.#name = name;
    this.#since = performance.now();
  }

  get name(): string {
    return this.#name;
  }

  get seconds(): number {
    return Math.round((performance.now() - this.#since) / 1000);
  }

  toString(): string {
    return `${this.#name} for ${this.seconds} s`;
  }
}

import { measured } from "./measures.ts";

/** What a piece of work is waiting for, and since when: `nacelle status`, metrics and error texts show it. */
export class Stage {
  readonly #of: string;
  #name: string;
  #since = performance.now();

  /** `of` names the kind of work. */
  constructor(of: string, name: string) {
    this.#of = of;
    this.#name = name;
  }

  enter(name: string): void {
    this.end();
    this.#name = name;
    this.#since = performance.now();
  }

  /** The work has ended. */
  end(): void {
    measured({ kind: "stage", of: this.#of, stage: this.#name, seconds: (performance.now() - this.#since) / 1000 });
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

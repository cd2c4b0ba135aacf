import type { TerminalSize } from "./runtime.ts";

/** Longer than any size is written. */
const MAX_TEXT = 256;

/** Reads the sizes that a client sends, JSON objects one after another, however they were cut. What is none is passed over. */
export class TerminalSizes {
  #text = "";

  /** The sizes that this completes. */
  push(data: Buffer): TerminalSize[] {
    const sizes: TerminalSize[] = [];
    for (const character of data.toString("latin1")) {
      this.#text += character;
      if (character === "}") sizes.push(...this.#complete());
      else if (this.#text.length > MAX_TEXT) this.#text = "";
    }
    return sizes;
  }

  #complete(): TerminalSize[] {
    const text = this.#text;
    this.#text = "";
    try {
      const { Width: width, Height: height } = JSON.parse(text) as Record<string, unknown>;
      return isCount(width) && isCount(height) ? [{ width, height }] : [];
    } catch {
      return []; // not JSON: no size
    }
  }
}

/** As the kernel keeps it; nothing has no columns. */
function isCount(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) > 0 && Number(value) <= 0xffff;
}

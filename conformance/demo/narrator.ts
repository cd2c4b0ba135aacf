import { stripVTControlCharacters, styleText } from "node:util";

type Style = Parameters<typeof styleText>[0];

/** Tells the story on standard output: chapters, and steps with what each took. Coloured only on a terminal. */
export class Narrator {
  readonly #coloured = process.stdout.isTTY && !process.env.NO_COLOR;
  readonly #interrupted: AbortSignal;
  #chapters = 0;
  #steps = 0;
  #explained = false;

  constructor(interrupted: AbortSignal) {
    this.#interrupted = interrupted;
  }

  /** How many steps ended well. */
  get steps(): number {
    return this.#steps;
  }

  chapter(title: string): void {
    this.#chapters += 1;
    this.#print(`\n${this.#styled("bold", `${this.#chapters}. ${title}`)}`);
  }

  /**
   * Does a step and prints its time and `claim`, or what `tell` makes of its result. A step that rejects is printed as
   * failed, and rejects: whatever it claims has to be asserted in it. After an interruption no step begins.
   */
  async step<Result>(
    claim: string,
    act: () => Result | Promise<Result>,
    tell: (result: Result) => string = () => claim,
  ): Promise<Result> {
    this.#interrupted.throwIfAborted();
    const started = performance.now();
    try {
      const result = await act();
      this.#print(`${this.#styled("green", milliseconds(started))}  ${tell(result)}`);
      this.#steps += 1;
      return result;
    } catch (error) {
      this.#print(this.#styled("red", `${milliseconds(started)}  FAILED: ${claim}`));
      throw error;
    }
  }

  /** What a program wrote, as it is, less what would steer the terminal. */
  quote(text: string): void {
    for (const line of text.trimEnd().split("\n")) {
      this.#print(`${" ".repeat(14)}${this.#styled("dim", `| ${stripVTControlCharacters(line)}`)}`);
    }
  }

  /** Says why the demo failed, once. An interruption is no failure. */
  explain(error: unknown, serverLog = ""): void {
    if (this.#interrupted.aborted || this.#explained) return;
    this.#explained = true;
    process.stderr.write(`\n${error instanceof Error ? error.stack : String(error)}\n`);
    if (serverLog !== "") process.stderr.write(`\nthe end of the server's log:\n${serverLog}\n`);
  }

  #styled(style: Style, text: string): string {
    return this.#coloured ? styleText(style, text, { validateStream: false }) : text;
  }

  #print(line: string): void {
    process.stdout.write(`${line}\n`);
  }
}

function milliseconds(started: number): string {
  return `${(performance.now() - started).toFixed(1).padStart(9)} ms`;
}

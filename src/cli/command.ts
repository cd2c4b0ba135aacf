import type { Invocation } from "./argv.ts";

/** The process's surroundings, as far as a command may touch them. */
export interface CommandIo {
  /** Standard output, for results. Text ends with a newline. */
  readonly out: (text: string) => void;
  /** Standard error, for messages to a person. Text ends with a newline. */
  readonly err: (text: string) => void;
}

/** Runs one command; resolves with the exit code. Throws only what `main.ts` turns into a line and `exitCodeOf`. */
export type Command = (invocation: Invocation, io: CommandIo) => Promise<number>;

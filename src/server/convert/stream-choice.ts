import type { StreamChoice } from "../../streaming/runtime.ts";
import { refuse } from "./field.ts";

/** The streams of an exec or attach. A terminal has one output: nothing could come on stderr. */
export function toStreamChoice({ stdin, stdout, stderr, tty }: StreamChoice): StreamChoice {
  if (!stdin && !stdout && !stderr) throw refuse("stdin", "and stdout and stderr are all false: ask for one of them");
  if (tty && stderr) throw refuse("stderr", "must be false with tty: a terminal has one output, which is stdout");
  return { stdin, stdout, stderr, tty };
}

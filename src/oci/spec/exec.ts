import { invalidArgument } from "../../lib/errors.ts";
import type { OciProcess } from "./types.ts";

/**
 * The process that an exec runs in a container: the container's own user, rights, limits, directory and environment, with
 * another command. Throws `invalidArgument` for an empty command.
 */
export function execProcess(process: OciProcess, command: readonly string[], tty: boolean): OciProcess {
  const [program = ""] = command;
  if (program === "") throw invalidArgument("cmd is empty: name a program to execute");
  const nul = command.findIndex((arg) => arg.includes("\0"));
  if (nul !== -1) throw invalidArgument(`cmd[${nul}] holds a NUL character`);
  const { env } = process;
  const named = env.some((entry) => entry.startsWith("TERM="));
  return { ...process, terminal: tty, args: command, env: tty && !named ? [...env, "TERM=xterm"] : env };
}

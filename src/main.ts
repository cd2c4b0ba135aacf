import { parseArgv } from "./cli/argv.ts";
import type { Command, CommandIo } from "./cli/command.ts";
import type { CommandName } from "./cli/commands.ts";
import { exitCodeOf, exitCodes } from "./cli/exit-codes.ts";
import { messageOf } from "./lib/errors.ts";

/** Each command is loaded when it is asked for: `nacelle version` should not wait for a gRPC library. */
const commands: Readonly<Record<CommandName, () => Promise<Command>>> = {
  serve: async () => (await import("./cli/serve-command.ts")).serveCommand,
  config: async () => (await import("./cli/config-command.ts")).configCommand,
  status: async () => (await import("./cli/status-command.ts")).statusCommand,
  image: async () => (await import("./cli/image-command.ts")).imageCommand,
  wipe: async () => (await import("./cli/wipe-command.ts")).wipeCommand,
  check: async () => (await import("./cli/check-command.ts")).checkCommand,
  version: async () => (await import("./cli/version-command.ts")).versionCommand,
};

const io: CommandIo = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
};

async function main(argv: readonly string[]): Promise<number> {
  const parsed = parseArgv(argv);
  if (parsed.kind === "help") io.out(parsed.text);
  if (parsed.kind === "usage") io.err(parsed.text);
  if (parsed.kind !== "run") return parsed.kind === "help" ? exitCodes.ok : exitCodes.usage;
  const run = await commands[parsed.invocation.command]();
  return run(parsed.invocation, io);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  io.err(`nacelle: ${messageOf(error)}\n`);
  process.exitCode = exitCodeOf(error);
}

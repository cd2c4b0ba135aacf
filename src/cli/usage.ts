import { type CommandName, type CommandSpec, commandNames, commandSpecs, type OptionSpec } from "./commands.ts";

/** The help of the program: one line per command. */
export function generalHelp(): string {
  const rows = commandNames.map((name) => [name, commandSpecs[name].summary] as const);
  return [
    "nacelle: a Kubernetes container runtime server",
    "",
    "usage: nacelle COMMAND [OPTION]…",
    "",
    columns(rows),
    "",
    "nacelle COMMAND --help says more about one.",
    "",
  ].join("\n");
}

/** The help of one command. */
export function commandHelp(name: CommandName): string {
  const spec: CommandSpec = commandSpecs[name];
  const options = Object.entries(spec.options).map(
    ([option, value]) => [optionUsage(option, value), value.help] as const,
  );
  const operands = spec.operands === "" ? "" : ` ${spec.operands}`;
  const all = [...options, ["-h, --help", "show this"] as const];
  return `nacelle ${name}: ${spec.summary}\n\nusage: nacelle ${name} [OPTION]…${operands}\n\n${columns(all)}\n`;
}

function optionUsage(name: string, { short, value }: OptionSpec): string {
  return `${short === undefined ? "    " : `-${short}, `}--${name}${value === undefined ? "" : ` ${value}`}`;
}

function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join("\n");
}

/** An option of a command line. */
export interface OptionSpec {
  readonly short?: string;
  /** What stands for its value in the help; absent: it takes none. */
  readonly value?: string;
  readonly choices?: readonly string[];
  readonly repeated?: boolean;
  readonly help: string;
}

export interface CommandSpec {
  readonly summary: string;
  /** What stands for the positional arguments in the help. */
  readonly operands: string;
  readonly minOperands: number;
  readonly maxOperands: number;
  readonly options: Readonly<Record<string, OptionSpec>>;
}

const config: OptionSpec = { value: "FILE", help: "read FILE and FILE.d/*.yaml instead of /etc/nacelle/nacelle.yaml" };
const set: OptionSpec = { value: "KEY=VALUE", repeated: true, help: "set one configuration key; may be repeated" };
const output: OptionSpec = { short: "o", value: "FORMAT", choices: ["text", "json"], help: "text (default) or json" };
const configured = { config, set };

function spec(summary: string, options: CommandSpec["options"], operands = "", min = 0, max = min): CommandSpec {
  return { summary, operands, minOperands: min, maxOperands: max, options };
}

/** Every command, in the order of the help. */
export const commandSpecs = {
  serve: spec("run the server until SIGTERM", configured),
  status: spec("what it is, what is in flight and on what it waits", {
    ...configured,
    output,
    watch: { short: "w", help: "show it again whenever it changes" },
  }),
  config: spec("print the configuration in force and where each value comes from", {
    ...configured,
    output,
    default: { help: "print a commented file of the defaults" },
    check: { value: "FILE", help: "say whether FILE is a valid configuration" },
    explain: { value: "KEY", help: "say what a key, or each key of a section, means" },
    markdown: { help: "print docs/CONFIG.md" },
  }),
  check: spec("say whether this node is fit, with a remedy for what is not", { ...configured, output }),
  image: spec("import images from an OCI image layout", { ...configured, output }, "import DIR [NAME]", 2, 3),
  wipe: spec("remove everything that it owns, leaving nothing behind", {
    ...configured,
    all: { help: "images too, not pods alone" },
  }),
  version: spec("print the version", { output }),
} as const satisfies Readonly<Record<string, CommandSpec>>;

export type CommandName = keyof typeof commandSpecs;

export const commandNames = Object.keys(commandSpecs) as readonly CommandName[];

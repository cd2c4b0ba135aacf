import { didYouMean } from "../config/nearest.ts";
import { type CommandName, type CommandSpec, commandNames, commandSpecs, type OptionSpec } from "./commands.ts";
import { commandHelp, generalHelp } from "./usage.ts";

/** A command line that was understood. */
export interface Invocation {
  readonly command: CommandName;
  /** Of --config. */
  readonly configFile: string | undefined;
  /** Of --set, in order. */
  readonly sets: readonly string[];
  readonly json: boolean;
  readonly watch: boolean;
  /** Options without a value that were given: "all", "default". */
  readonly flags: ReadonlySet<string>;
  /** Options with a value that were given: "check", "explain". */
  readonly values: ReadonlyMap<string, string>;
  readonly operands: readonly string[];
}

/** What is to be done: run a command, print a help text (exit 0), or print why not (exit 2). */
export type Parsed =
  | { readonly kind: "run"; readonly invocation: Invocation }
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "usage"; readonly text: string };

/** Understands the arguments after the program's name. Pure; never throws. */
export function parseArgv(argv: readonly string[]): Parsed {
  const [first, ...rest] = argv;
  if (first === undefined) return { kind: "usage", text: generalHelp() };
  if (first === "--version") return parseCommand("version", rest);
  if (["--help", "-h", "help"].includes(first)) return helpOn(rest[0]);
  const command = commandNames.find((name) => name === first);
  return command === undefined ? unknownCommand(first) : parseCommand(command, rest);
}

function helpOn(name: string | undefined): Parsed {
  if (name === undefined) return { kind: "help", text: generalHelp() };
  const command = commandNames.find((candidate) => candidate === name);
  return command === undefined ? unknownCommand(name) : { kind: "help", text: commandHelp(command) };
}

function unknownCommand(word: string): Parsed {
  const guess = didYouMean(word, commandNames);
  return { kind: "usage", text: `nacelle: unknown command ${JSON.stringify(word)}${guess}\n\n${generalHelp()}` };
}

function parseCommand(command: CommandName, argv: readonly string[]): Parsed {
  const found = collect(commandSpecs[command], argv);
  if (found === "help") return { kind: "help", text: commandHelp(command) };
  const problem = typeof found === "string" ? found : operandProblem(commandSpecs[command], found.operands);
  if (typeof found === "string" || problem !== undefined) {
    return { kind: "usage", text: `nacelle ${command}: ${problem}\n\n${commandHelp(command)}` };
  }
  const { given, operands } = found;
  const flags = new Set([...given].flatMap(([name, values]) => (values.length === 0 ? [name] : [])));
  const values = new Map(
    [...given].flatMap(([name, [value]]) => (value === undefined ? [] : [[name, value] as const])),
  );
  const invocation: Invocation = {
    command,
    configFile: values.get("config"),
    sets: given.get("set") ?? [],
    json: values.get("output") === "json",
    watch: flags.has("watch"),
    flags,
    values,
    operands,
  };
  return { kind: "run", invocation };
}

interface Collected {
  readonly given: ReadonlyMap<string, readonly string[]>;
  readonly operands: readonly string[];
}

/** Sorts words into options and operands; a text says what is wrong, "help" that help was asked for. */
function collect(spec: CommandSpec, argv: readonly string[]): Collected | string {
  const given = new Map<string, string[]>();
  const operands: string[] = [];
  const words = [...argv];
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    if (word === "--") {
      operands.push(...words.splice(0));
    } else if (word === "--help" || word === "-h") {
      return "help";
    } else if (!word.startsWith("-") || word === "-") {
      operands.push(word);
    } else {
      const problem = takeOption(spec, word, words, given);
      if (problem !== undefined) return problem;
    }
  }
  return { given, operands };
}

function takeOption(spec: CommandSpec, word: string, rest: string[], given: Map<string, string[]>): string | undefined {
  const [written = "", ...attached] = word.split("=");
  const name = optionName(spec, written);
  const option = name === undefined ? undefined : spec.options[name];
  if (name === undefined || option === undefined) {
    const known = Object.keys(spec.options).map((candidate) => `--${candidate}`);
    return `unknown option ${written}${didYouMean(written, known)}`;
  }
  const before = given.get(name) ?? [];
  if (given.has(name) && option.repeated !== true) return `--${name} is given twice`;
  if (option.value === undefined) {
    if (attached.length > 0) return `--${name} takes no value`;
    given.set(name, []);
    return undefined;
  }
  const value = attached.length > 0 ? attached.join("=") : rest.shift();
  const problem = valueProblem(name, option, value);
  if (problem === undefined && value !== undefined) given.set(name, [...before, value]);
  return problem;
}

function valueProblem(name: string, option: OptionSpec, value: string | undefined): string | undefined {
  if (value === undefined || value === "") return `--${name} needs a value: ${option.value}`;
  if (option.choices === undefined || option.choices.includes(value)) return undefined;
  return `--${name} is one of ${option.choices.join(", ")}, not ${JSON.stringify(value)}`;
}

function optionName(spec: CommandSpec, written: string): string | undefined {
  if (written.startsWith("--")) return Object.hasOwn(spec.options, written.slice(2)) ? written.slice(2) : undefined;
  return Object.entries(spec.options).find(([, { short }]) => short === written.slice(1))?.[0];
}

function operandProblem(spec: CommandSpec, operands: readonly string[]): string | undefined {
  const extra = operands[spec.maxOperands];
  if (extra !== undefined) return `unexpected argument ${JSON.stringify(extra)}`;
  if (operands.length < spec.minOperands) return `expected ${spec.operands}`;
  return undefined;
}

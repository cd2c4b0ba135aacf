import { type Dirent, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { hasCode, invalidArgument, messageOf } from "../lib/errors.ts";
import { type Config, type Section, type Setting, schema } from "./schema.ts";
import { entriesOf } from "./value-type.ts";
import { merge, type Node, parseYaml } from "./yaml-node.ts";

export const defaultConfigFile = "/etc/nacelle/nacelle.yaml";

const maxFileBytes = 1 << 20;

export interface LoadOptions {
  /** Read instead of the default file, and then it has to exist. Drop-ins are beside it, in `<file>.d/*.yaml`. */
  readonly file?: string;
  /** `key=value` pairs from the command line, applied last. */
  readonly sets?: readonly string[];
}

/**
 * Reads the file, its drop-ins in the order of their names, and the settings of the command line, each on top of the
 * last. Throws `invalidArgument` with file, line, key and remedy. Blocks: for start-up and reload only.
 */
export function loadConfig(options: LoadOptions = {}): Config {
  return sectionValue(schema, gather(options), "") as Config;
}

/** All that was written, as one tree in which each value knows its place; not validated. Throws like `loadConfig`. */
export function gather({ file, sets = [] }: LoadOptions): Node {
  const nodes = configFiles(file).map((path) => parseYaml(readText(path), path));
  return overlay([...nodes, ...sets.map(parseSet)]);
}

/** The configuration from YAML texts by name, in order; for tests and for `nacelle config --check`. */
export function parseConfig(texts: Readonly<Record<string, string>>, sets: readonly string[] = []): Config {
  const nodes = Object.entries(texts).map(([source, yaml]) => parseYaml(yaml, source));
  return sectionValue(schema, overlay([...nodes, ...sets.map(parseSet)]), "") as Config;
}

/** The files that `loadConfig` reads, in order. */
export function configFiles(file?: string): readonly string[] {
  const main = file ?? defaultConfigFile;
  const exists = statSync(main, { throwIfNoEntry: false }) !== undefined;
  if (!exists && file !== undefined) throw invalidArgument(`configuration file ${file} does not exist`, { file });
  return [...(exists ? [main] : []), ...dropIns(`${main}.d`)];
}

function dropIns(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry: Dirent) => entry.name.endsWith(".yaml") && !entry.name.startsWith(".") && !entry.isDirectory())
      .map((entry) => join(directory, entry.name))
      .sort();
  } catch (error) {
    if (hasCode(error, "ENOENT") || hasCode(error, "ENOTDIR")) return [];
    throw invalidArgument(`cannot read ${directory}: ${messageOf(error)}`, { file: directory });
  }
}

function readText(path: string): string {
  try {
    const { size } = statSync(path);
    if (size > maxFileBytes)
      throw invalidArgument(`${path} has ${size} bytes: no configuration is that long`, { file: path });
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error)
      throw invalidArgument(`cannot read ${path}: ${messageOf(error)}`, { file: path });
    throw error;
  }
}

/** "cni.timeout=30s" as the tree {cni: {timeout: 30s}}. The value is YAML, so lists and maps can be set too. */
function parseSet(set: string): Node {
  const equals = set.indexOf("=");
  const at = { source: `--set ${set.slice(0, 80)}`, line: 0 };
  if (equals < 1) throw invalidArgument(`${at.source}: expected key=value, like log.level=debug`);
  const key = set.slice(0, equals);
  const written = set.slice(equals + 1);
  const value: Node = valueOfSet(written, at.source) ?? { kind: "scalar", text: written, quoted: true, at };
  return key
    .split(".")
    .reduceRight<Node>((child, part) => ({ kind: "map", entries: new Map([[part, child]]), at }), value);
}

function valueOfSet(written: string, source: string): Node | undefined {
  // Only a list, a map or a quoted text is YAML; a plain value is taken as it stands, colons and all.
  return /^[[{"']/.test(written) ? parseYaml(written, source, false) : undefined;
}

function overlay(nodes: readonly (Node | undefined)[]): Node {
  const empty: Node = { kind: "map", entries: new Map(), at: nowhere };
  return nodes.filter((node) => node !== undefined).reduce(merge, empty);
}

const nowhere = { source: "default", line: 0 };

function sectionValue(section: Section, node: Node | undefined, key: string): object {
  const entries = node === undefined ? new Map<string, Node>() : entriesOf(node, key, Object.keys(section.members));
  return Object.fromEntries(
    Object.entries(section.members).map(([name, member]) => {
      const full = key === "" ? name : `${key}.${name}`;
      const child = entries.get(name);
      return [name, member.kind === "section" ? sectionValue(member, child, full) : settingValue(member, child, full)];
    }),
  );
}

function settingValue(setting: Setting<unknown>, node: Node | undefined, key: string): unknown {
  return setting.type.parse(settingNode(setting, node), key);
}

/** What was written for a setting, on top of its default. */
export function settingNode(setting: Setting<unknown>, node: Node | undefined): Node {
  const standard = parseYaml(setting.default, nowhere.source, false) ?? emptyText;
  return node === undefined ? standard : merge(standard, node);
}

const emptyText: Node = { kind: "scalar", text: "", quoted: true, at: nowhere };

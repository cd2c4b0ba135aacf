import { invalidArgument, messageOf } from "../lib/errors.ts";
import { isJsonObject, type JsonObject, parseJsonObject } from "./json-object.ts";

/** The versions of the CNI specification that nacelle speaks, oldest first. */
export const cniVersions = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;
/** One of the versions spoken. */
export type CniVersion = (typeof cniVersions)[number];

/** Longest configuration that is read, in bytes. */
export const MAX_CONFIG_BYTES = 1 << 20;
const MAX_PLUGINS = 32;

/** One plugin of a list; `config` is its part as written, which goes to its standard input. */
export interface PluginConfig {
  /** The executable's file name: never a path. */
  readonly type: string;
  /** What it wants to be told of in `runtimeConfig`: the names declared true. */
  readonly capabilities: readonly string[];
  /** The address management plugin that it will execute, if it names one. */
  readonly ipamType: string | undefined;
  readonly config: JsonObject;
}

/** A validated configuration list. */
export interface NetworkList {
  readonly name: string;
  /** The version that plugins are spoken to in. */
  readonly cniVersion: CniVersion;
  /** All versions that the configuration allows and nacelle speaks, newest first; `cniVersion` is one of them. */
  readonly allowedVersions: readonly CniVersion[];
  readonly disableCheck: boolean;
  readonly disableGC: boolean;
  readonly plugins: readonly PluginConfig[];
  /** The configuration list as JSON text; parsing it gives this value again. */
  readonly text: string;
}

/** A network that sandboxes can be attached to. */
export interface NetworkConfig {
  /** The file's name in the configuration directory. */
  readonly file: string;
  readonly list: NetworkList;
  /** One absolute path for each plugin of the list. */
  readonly pluginPaths: readonly string[];
  readonly binDirs: readonly string[];
}

/** One file of the configuration directory, as far as it could be read. */
export type ConfigFile =
  | { readonly name: string; readonly text: string }
  | { readonly name: string; readonly problem: string };

/** A file that is no valid configuration, and why. */
export interface SkippedFile {
  readonly name: string;
  readonly reason: string;
}

/** What `chooseNetwork` found. */
export interface NetworkChoice {
  readonly chosen: { readonly file: string; readonly list: NetworkList } | undefined;
  /** Files before the chosen one (all, if none is) that are not valid. */
  readonly skipped: readonly SkippedFile[];
}

/** True for names that a network configuration may have in the configuration directory. */
export function isConfigFileName(name: string): boolean {
  return /^[^.].*\.(conflist|conf|json)$/.test(name);
}

/** The first valid configuration by file name, in byte order; the invalid ones before it are named with their reasons. */
export function chooseNetwork(files: readonly ConfigFile[]): NetworkChoice {
  const skipped: SkippedFile[] = [];
  const candidates = files.filter(({ name }) => isConfigFileName(name));
  for (const file of candidates.toSorted((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)))) {
    if ("problem" in file) {
      skipped.push({ name: file.name, reason: file.problem });
      continue;
    }
    try {
      return { chosen: { file: file.name, list: parseNetworkList(file.text) }, skipped };
    } catch (error) {
      skipped.push({ name: file.name, reason: messageOf(error) });
    }
  }
  return { chosen: undefined, skipped };
}

/**
 * Parses a configuration list, or a single plugin's configuration, which becomes a list of one.
 * Throws `invalidArgument` that names the key at fault; the message does not hold the file's name.
 */
export function parseNetworkList(text: string): NetworkList {
  if (Buffer.byteLength(text) > MAX_CONFIG_BYTES) throw invalidArgument("the file is larger than 1 MiB");
  const parsed = parseJsonObject(text, MAX_CONFIG_BYTES, "the file");
  const wrapped = !("plugins" in parsed) && "type" in parsed;
  const root = wrapped ? { cniVersion: parsed.cniVersion, name: parsed.name, plugins: [parsed] } : parsed;
  const allowedVersions = parseVersions(root);
  const [cniVersion] = allowedVersions;
  if (cniVersion === undefined) throw invalidArgument(`"cniVersion" must be one of ${cniVersions.join(", ")}`);
  return {
    name: parseName(root.name),
    cniVersion,
    allowedVersions,
    disableCheck: parseFlag(root, "disableCheck"),
    disableGC: parseFlag(root, "disableGC"),
    plugins: parsePlugins(root.plugins),
    text: wrapped ? JSON.stringify(root) : text,
  };
}

/** Whether `version` has what came with `since` (prevResult on DEL with 0.4.0, STATUS and GC with 1.1.0). */
export function isAtLeast(version: CniVersion, since: CniVersion): boolean {
  return cniVersions.indexOf(version) >= cniVersions.indexOf(since);
}

/** Whether nacelle speaks this version of the specification. */
export function isCniVersion(value: unknown): value is CniVersion {
  return cniVersions.some((version) => version === value);
}

function parseVersions(root: JsonObject): readonly CniVersion[] {
  const { cniVersion, cniVersions: listed = [] } = root;
  if (cniVersion !== undefined && typeof cniVersion !== "string") throw invalidArgument(`"cniVersion" is not a string`);
  if (!Array.isArray(listed) || listed.some((version) => typeof version !== "string")) {
    throw invalidArgument(`"cniVersions" is not a list of strings`);
  }
  const wanted = new Set<unknown>([cniVersion, ...listed]);
  const allowed = cniVersions.filter((version) => wanted.has(version)).toReversed();
  if (allowed.length > 0) return allowed;
  const said = [...wanted].filter((version) => version !== undefined).map((version) => quote(version));
  const problem = said.length === 0 ? `"cniVersion" is missing` : `"cniVersion" ${said.join(", ")} is not supported`;
  throw invalidArgument(`${problem}; use one of ${cniVersions.join(", ")}`);
}

function parseName(name: unknown): string {
  if (name === undefined) throw invalidArgument(`"name" is missing`);
  if (typeof name === "string" && /^[A-Za-z0-9][\w.-]{0,254}$/.test(name)) return name;
  throw invalidArgument(
    `"name" ${quote(name)} is not a network name: a letter or digit, then letters, digits, "_", "." or "-"`,
  );
}

function parseFlag(root: JsonObject, key: string): boolean {
  const value = root[key] ?? false;
  if (typeof value === "boolean") return value;
  // Older releases of the specification's own library wrote these as strings.
  if (value === "true" || value === "false") return value === "true";
  throw invalidArgument(`"${key}" ${quote(value)} is neither true nor false`);
}

function parsePlugins(plugins: unknown): readonly PluginConfig[] {
  if (plugins === undefined) throw invalidArgument(`"plugins" is missing`);
  if (!Array.isArray(plugins)) throw invalidArgument(`"plugins" is not a list`);
  if (plugins.length === 0) throw invalidArgument(`"plugins" is empty`);
  if (plugins.length > MAX_PLUGINS) throw invalidArgument(`"plugins" has more than ${MAX_PLUGINS} entries`);
  return plugins.map((plugin: unknown, index) => parsePlugin(plugin, `plugins[${index}]`));
}

function parsePlugin(plugin: unknown, where: string): PluginConfig {
  if (!isJsonObject(plugin)) throw invalidArgument(`"${where}" is not an object`);
  const { capabilities = {}, ipam = {} } = plugin;
  if (!isJsonObject(capabilities)) throw invalidArgument(`"${where}.capabilities" is not an object`);
  if (!isJsonObject(ipam)) throw invalidArgument(`"${where}.ipam" is not an object`);
  return {
    type: parseType(plugin.type, `${where}.type`),
    capabilities: Object.keys(capabilities).filter((name) => parseFlag(capabilities, name)),
    ipamType: ipam.type === undefined || ipam.type === "" ? undefined : parseType(ipam.type, `${where}.ipam.type`),
    config: plugin,
  };
}

/** A type names a file in one of the plugin directories and nothing outside of them. */
function parseType(type: unknown, where: string): string {
  if (type === undefined) throw invalidArgument(`"${where}" is missing`);
  if (typeof type === "string" && /^[^/\0]{1,255}$/.test(type) && type !== "." && type !== "..") return type;
  throw invalidArgument(`"${where}" ${quote(type)} is not the name of an executable: it may not be a path`);
}

function quote(value: unknown): string {
  return JSON.stringify(value ?? null).slice(0, 80);
}

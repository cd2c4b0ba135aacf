import { parse, TomlError } from "smol-toml";
import { DomainError, invalidArgument, messageOf } from "../../lib/errors.ts";
import { nameOf, type Reference } from "../reference.ts";

/** Where an image can be fetched from; the requested name stays the image's name. */
export interface Source {
  /** Host and port. */
  readonly host: string;
  /** The repository there. */
  readonly path: string;
  /** HTTP, and HTTPS without verification. */
  readonly insecure: boolean;
  readonly isMirror: boolean;
}

interface Endpoint {
  readonly location: string;
  readonly insecure: boolean;
  readonly pullFromMirror: "all" | "digest-only" | "tag-only";
}

interface Registry {
  readonly prefix: string;
  readonly location: string;
  readonly insecure: boolean;
  readonly blocked: boolean;
  readonly mirrorByDigestOnly: boolean;
  readonly mirrors: readonly Endpoint[];
}

/** containers-registries.conf(5), version 2. */
export interface RegistriesConf {
  readonly registries: readonly Registry[];
  /** In order; `undefined` when no file sets it: then short names are those of docker.io. */
  readonly searchRegistries: readonly string[] | undefined;
}

type Table = Readonly<Record<string, unknown>>;

/** Parses one file. Throws `invalidArgument` naming `file`, the key and, for a syntax error, the line. */
export function parseRegistriesConf(text: string, file: string): RegistriesConf {
  const table = parseToml(text, file);
  if (table.registries !== undefined) {
    throw invalidArgument(`${file}: [registries.*] is version 1 of registries.conf; write [[registry]] tables instead`);
  }
  const registries = arrayOf(table, "registry", file).map((entry) => registryOf(entry, file));
  const search = table["unqualified-search-registries"];
  if (search !== undefined && !(Array.isArray(search) && search.every((host) => typeof host === "string"))) {
    throw invalidArgument(`${file}: unqualified-search-registries must be an array of strings`);
  }
  return { registries, searchRegistries: search };
}

/** Later files win: whole search list, and whole registry by prefix. */
export function mergeRegistriesConf(confs: readonly RegistriesConf[]): RegistriesConf {
  const byPrefix = new Map(confs.flatMap(({ registries }) => registries).map((entry) => [entry.prefix, entry]));
  const searchRegistries = confs.findLast((conf) => conf.searchRegistries !== undefined)?.searchRegistries;
  return { registries: [...byPrefix.values()], searchRegistries };
}

/** Mirrors in order, then the registry itself. Throws `failedPrecondition` for a blocked one. */
export function sourcesOf(conf: RegistriesConf, reference: Reference): readonly Source[] {
  const name = nameOf(reference);
  const registry = matching(conf, name);
  if (registry === undefined) return [sourceOf(name, { insecure: false }, false)];
  if (registry.blocked) {
    throw new DomainError("failedPrecondition", `registry ${registry.prefix} is blocked in registries.conf`);
  }
  const matched = matchLength(registry.prefix, name) ?? 0;
  const rewritten = (location: string) => (location === "" ? name : location + name.slice(matched));
  const byDigest = reference.digest !== undefined;
  const mirrors = registry.mirrors.filter(({ pullFromMirror }) => {
    if (registry.mirrorByDigestOnly || pullFromMirror === "digest-only") return byDigest;
    return pullFromMirror === "all" || !byDigest;
  });
  return [
    ...mirrors.map((mirror) => sourceOf(rewritten(mirror.location), mirror, true)),
    sourceOf(rewritten(registry.location), registry, false),
  ];
}

function matching(conf: RegistriesConf, name: string): Registry | undefined {
  const matches = conf.registries.filter(({ prefix }) => matchLength(prefix, name) !== undefined);
  return matches.reduce<Registry | undefined>(
    (best, entry) => (best === undefined || entry.prefix.length > best.prefix.length ? entry : best),
    undefined,
  );
}

/** How much of `name` the prefix stands for: whole components, or with "*." any host below a domain. */
function matchLength(prefix: string, name: string): number | undefined {
  if (prefix.startsWith("*.")) {
    const host = name.slice(0, name.indexOf("/"));
    return host.endsWith(prefix.slice(1)) && host.length > prefix.length - 1 ? host.length : undefined;
  }
  if (!name.startsWith(prefix)) return undefined;
  return name.length === prefix.length || "/:@".includes(name.charAt(prefix.length)) ? prefix.length : undefined;
}

function sourceOf(name: string, { insecure }: { readonly insecure: boolean }, isMirror: boolean): Source {
  const slash = name.indexOf("/");
  return { host: name.slice(0, slash), path: name.slice(slash + 1), insecure, isMirror };
}

function registryOf(entry: Table, file: string): Registry {
  const location = textOf(entry, "location", file) ?? "";
  const prefix = textOf(entry, "prefix", file) ?? location;
  if (prefix === "") throw invalidArgument(`${file}: a [[registry]] has neither prefix nor location`);
  if (location === "" && !prefix.startsWith("*.")) {
    throw invalidArgument(`${file}: registry ${prefix} has no location; only a "*." prefix may be without one`);
  }
  return {
    prefix,
    location,
    insecure: flagOf(entry, "insecure", file),
    blocked: flagOf(entry, "blocked", file),
    mirrorByDigestOnly: flagOf(entry, "mirror-by-digest-only", file),
    mirrors: arrayOf(entry, "mirror", file).map((mirror) => endpointOf(mirror, prefix, file)),
  };
}

function endpointOf(mirror: Table, prefix: string, file: string): Endpoint {
  const location = textOf(mirror, "location", file);
  if (location === undefined || location === "")
    throw invalidArgument(`${file}: a mirror of ${prefix} has no location`);
  const pullFromMirror = textOf(mirror, "pull-from-mirror", file) ?? "all";
  if (pullFromMirror !== "all" && pullFromMirror !== "digest-only" && pullFromMirror !== "tag-only") {
    throw invalidArgument(`${file}: pull-from-mirror of ${location} must be "all", "digest-only" or "tag-only"`);
  }
  return { location, insecure: flagOf(mirror, "insecure", file), pullFromMirror };
}

function parseToml(text: string, file: string): Table {
  try {
    return parse(text);
  } catch (error) {
    const line = error instanceof TomlError ? `:${error.line}` : "";
    throw invalidArgument(`${file}${line}: ${messageOf(error).split("\n", 1)[0]}`);
  }
}

/** Without a scheme and trailing slashes: people write both. */
function textOf(table: Table, key: string, file: string): string | undefined {
  const value = table[key];
  if (value === undefined) return undefined;
  if (typeof value !== "string") throw invalidArgument(`${file}: ${key} must be a string`);
  return value.replace(/^https?:\/\//, "").replace(/\/+$/, "");
}

function flagOf(table: Table, key: string, file: string): boolean {
  const value = table[key] ?? false;
  if (typeof value !== "boolean") throw invalidArgument(`${file}: ${key} must be true or false`);
  return value;
}

function arrayOf(table: Table, key: string, file: string): readonly Table[] {
  const value = table[key] ?? [];
  if (!Array.isArray(value) || !value.every(isTable))
    throw invalidArgument(`${file}: ${key} must be [[${key}]] tables`);
  return value;
}

function isTable(value: unknown): value is Table {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

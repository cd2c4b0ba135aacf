import { parseQuantity } from "../lib/quantity.ts";
import { didYouMean } from "./nearest.ts";
import { errorAt, isEmpty, type Node } from "./yaml-node.ts";

/** What a setting may hold. */
export interface ValueType<T> {
  /** In words, for the documentation: "a duration like 30s or 3m". */
  readonly name: string;
  /** Throws `invalidArgument` that names place, key and what was expected. */
  parse(node: Node, key: string): T;
}

/** Any text; "" where `orEmpty` words say what that means. */
export function text(name = "a text"): ValueType<string> {
  return { name, parse: (node, key) => scalar(node, key, name) };
}

/** A path from the root of the file system, without "." or ".." in it. */
export function path(): ValueType<string> {
  const name = "an absolute path";
  return {
    name,
    parse: (node, key) => {
      const value = scalar(node, key, name);
      if (!value.startsWith("/") || /\/\.{1,2}(\/|$)|\0/.test(value)) throw bad(node, key, name);
      return value === "/" ? value : value.replaceAll(/\/+/g, "/").replace(/\/$/, "");
    },
  };
}

/** A path as above, or "" for none. */
export function optionalPath(): ValueType<string> {
  const name = 'an absolute path, or ""';
  return { name, parse: (node, key) => (scalar(node, key, name) === "" ? "" : path().parse(node, key)) };
}

export function bool(): ValueType<boolean> {
  const name = "true or false";
  return {
    name,
    parse: (node, key) => {
      const value = scalar(node, key, name);
      if (value !== "true" && value !== "false") throw bad(node, key, name);
      return value === "true";
    },
  };
}

/** A whole number from `min` to `max`, both included. */
export function int(min: number, max: number): ValueType<number> {
  const name = `a whole number from ${min} to ${max}`;
  return {
    name,
    parse: (node, key) => {
      const value = scalar(node, key, name);
      const number = Number(value);
      if (!/^-?\d{1,15}$/.test(value) || number < min || number > max) throw bad(node, key, name);
      return number;
    },
  };
}

export function oneOf<const T extends string>(...values: readonly T[]): ValueType<T> {
  const name = `one of ${values.join(", ")}`;
  return {
    name,
    parse: (node, key) => {
      const value = scalar(node, key, name);
      const found = values.find((candidate) => candidate === value);
      if (found === undefined)
        throw errorAt(node.at, `${key}: ${show(value)} is not ${name}${didYouMean(value, values)}`, key);
      return found;
    },
  };
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** "30s", "3m", "1m30s", "500ms", "2h"; the value is in milliseconds, at least `minMs`, at most a day. */
export function duration(minMs = 1): ValueType<number> {
  const name = "a duration like 500ms, 30s, 3m or 1m30s";
  return {
    name,
    parse: (node, key) => {
      const value = scalar(node, key, name);
      if (!/^(\d{1,9}(ms|s|m|h))+$/.test(value)) throw bad(node, key, name);
      const parts = [...value.matchAll(/(\d+)(ms|s|m|h)/g)];
      const ms = parts.reduce((sum, [, count, unit = ""]) => sum + Number(count) * (unitMs[unit] ?? 0), 0);
      if (ms < minMs || ms > 86_400_000) throw bad(node, key, `${name}, from ${minMs}ms to 24h`);
      return ms;
    },
  };
}

/** "500k", "10Mi", "1Gi" or a number of bytes; at least `min`, at most 1Pi. */
export function size(min = 0): ValueType<number> {
  const name = `a size like 500k, 10Mi or 1Gi${min === 0 ? ", or 0 for none" : ""}`;
  return {
    name,
    parse: (node, key) => {
      const bytes = parseQuantity(scalar(node, key, name));
      if (bytes === undefined || bytes < min || bytes > 2 ** 50) throw bad(node, key, name);
      return bytes;
    },
  };
}

export interface Ulimit {
  readonly soft: number;
  readonly hard: number;
}

/** "1024:524288", soft and hard; "unlimited" may stand for a number and is then -1. */
export function ulimit(): ValueType<Ulimit> {
  const name = "soft:hard, numbers or unlimited";
  return {
    name,
    parse: (node, key) => {
      const value = scalar(node, key, name);
      if (!/^(\d{1,15}|unlimited)(:(\d{1,15}|unlimited))?$/.test(value)) throw bad(node, key, name);
      const [soft = -1, hard = soft] = value.split(":").map((part) => (part === "unlimited" ? -1 : Number(part)));
      if (hard !== -1 && (soft === -1 || soft > hard)) throw bad(node, key, "soft not above hard");
      return { soft, hard };
    },
  };
}

export function listOf<T>(item: ValueType<T>): ValueType<readonly T[]> {
  const name = `a list; each: ${item.name}`;
  return {
    name,
    parse: (node, key) => {
      if (node.kind !== "list") throw bad(node, key, name);
      return node.items.map((entry, index) => item.parse(entry, `${key}[${index}]`));
    },
  };
}

/** Entries by name. In several files they add up; those of one name are merged. */
export function mapOf<T>(
  keyPattern: RegExp,
  keyName: string,
  value: ValueType<T>,
): ValueType<Readonly<Record<string, T>>> {
  const name = `a map from ${keyName}; each: ${value.name}`;
  return {
    name,
    parse: (node, key) => {
      if (node.kind !== "map") throw bad(node, key, name);
      return Object.fromEntries(
        [...node.entries].map(([entry, child]) => {
          if (!keyPattern.test(entry)) throw errorAt(child.at, `${key}: ${show(entry)} is not ${keyName}`, key);
          return [entry, value.parse(child, `${key}.${entry}`)];
        }),
      );
    },
  };
}

/** A member of a record: its type, and the YAML text that stands for an absent one. Without that it is required. */
export interface Member<T> {
  readonly type: ValueType<T>;
  readonly default?: T;
  readonly doc: string;
}

type RecordOf<M> = { readonly [K in keyof M]: M[K] extends { readonly type: ValueType<infer T> } ? T : never };

/** A map with these members and no other. */
export function record<M extends Readonly<Record<string, Member<unknown>>>>(members: M): ValueType<RecordOf<M>> {
  const names = Object.keys(members);
  return {
    name: `a map of ${names.join(", ")}`,
    parse: (node, key) => {
      const entries = entriesOf(node, key, names);
      const values = Object.entries(members).map(([name, member]) => {
        const child = entries.get(name);
        if (child !== undefined && !isEmpty(child)) return [name, member.type.parse(child, `${key}.${name}`)];
        if (member.default === undefined) throw errorAt(node.at, `${key}: ${name} is missing`, `${key}.${name}`);
        return [name, member.default];
      });
      return Object.fromEntries(values) as RecordOf<M>;
    },
  };
}

/** The entries of a map; empty counts as none. Throws for an unknown one, naming the nearest known. */
export function entriesOf(node: Node, key: string, known: readonly string[]): ReadonlyMap<string, Node> {
  if (isEmpty(node)) return new Map();
  if (node.kind !== "map") throw errorAt(node.at, `${key}: expected a map of ${known.join(", ")}`, key);
  const prefix = key === "" ? "" : `${key}.`;
  for (const [name, child] of node.entries) {
    if (known.includes(name)) continue;
    const full = known.map((candidate) => prefix + candidate);
    throw errorAt(
      child.at,
      `unknown key ${prefix}${name.slice(0, 80)}${didYouMean(prefix + name.slice(0, 80), full)}`,
      prefix + name,
    );
  }
  return node.entries;
}

function scalar(node: Node, key: string, expected: string): string {
  if (node.kind !== "scalar") throw bad(node, key, expected);
  return node.text;
}

function bad(node: Node, key: string, expected: string): Error {
  const found = node.kind === "scalar" ? show(node.text) : `a ${node.kind}`;
  return errorAt(node.at, `${key}: expected ${expected}, not ${found}`, key);
}

function show(value: string): string {
  return JSON.stringify(value.slice(0, 80));
}

import type { TableName } from "./schema.ts";

/** One step of a transaction. Made by the methods of `Table` and the functions below, carried out by `Store.commit`. */
export type Change =
  | {
      readonly op: "insert";
      readonly table: TableName;
      readonly id: string;
      readonly fixed: unknown;
      readonly state: unknown;
    }
  | { readonly op: "update"; readonly table: TableName; readonly id: string; readonly state: unknown }
  | { readonly op: "delete"; readonly table: TableName; readonly id: string }
  | { readonly op: "reserve"; readonly kind: string; readonly name: string; readonly id: string }
  | { readonly op: "release"; readonly kind: string; readonly name: string }
  | { readonly op: "meta"; readonly key: string; readonly value: string };

/** Gives `name` to `id`; the commit throws `alreadyExists` when anyone holds it. */
export function reserveName(kind: string, name: string, id: string): Change {
  return { op: "reserve", kind, name, id };
}

/** Frees `name`. Free already: nothing to do. */
export function releaseName(kind: string, name: string): Change {
  return { op: "release", kind, name };
}

/** Sets a key of the store's own table of values. */
export function setMeta(key: string, value: string): Change {
  return { op: "meta", key, value };
}

/** A change in a few words, for messages and step marks; never its contents. */
export function describeChange(change: Change): string {
  switch (change.op) {
    case "insert":
    case "update":
    case "delete":
      return `${change.op} ${change.table} ${change.id}`;
    case "reserve":
    case "release":
      return `${change.op} ${change.kind} name ${change.name}`;
    case "meta":
      return `set ${change.key}`;
  }
}

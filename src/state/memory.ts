import type { Change } from "./change.ts";
import { type TableName, tableNames } from "./schema.ts";

/** A row as the domain sees it. A new object after each change: one that was handed out never changes. */
export interface Row<Fixed, State> {
  readonly id: string;
  /** Written once, by the insert. */
  readonly fixed: Fixed;
  readonly state: State;
}

type Rows = Map<string, Row<unknown, unknown>>;

/** All rows, in memory: what every read is answered from. */
export class Memory {
  readonly #tables: ReadonlyMap<TableName, Rows> = new Map(tableNames.map((name) => [name, new Map()]));
  readonly #names = new Map<string, string>();
  readonly #meta = new Map<string, string>();

  rows(table: TableName): Rows {
    const rows = this.#tables.get(table);
    if (rows === undefined) throw new Error(`no table ${table}`);
    return rows;
  }

  holder(kind: string, name: string): string | undefined {
    return this.#names.get(nameKey(kind, name));
  }

  meta(key: string): string | undefined {
    return this.#meta.get(key);
  }

  apply(change: Change): void {
    switch (change.op) {
      case "insert": {
        const { id, fixed, state } = change;
        this.rows(change.table).set(id, { id, fixed, state });
        return;
      }
      case "update": {
        const row = this.rows(change.table).get(change.id);
        if (row !== undefined) this.rows(change.table).set(change.id, { ...row, state: change.state });
        return;
      }
      case "delete":
        this.rows(change.table).delete(change.id);
        return;
      case "reserve":
        this.#names.set(nameKey(change.kind, change.name), change.id);
        return;
      case "release":
        this.#names.delete(nameKey(change.kind, change.name));
        return;
      case "meta":
        this.#meta.set(change.key, change.value);
    }
  }

  /** Changes that would build this memory from an empty one. */
  *snapshot(): Generator<Change> {
    for (const table of tableNames) {
      for (const row of this.rows(table).values()) yield { op: "insert", table, ...row };
    }
    for (const [key, id] of this.#names) {
      const [kind = "", name = ""] = key.split("\0");
      yield { op: "reserve", kind, name, id };
    }
    for (const [key, value] of this.#meta) yield { op: "meta", key, value };
  }
}

function nameKey(kind: string, name: string): string {
  return `${kind}\0${name}`;
}

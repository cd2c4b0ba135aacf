import type { Change } from "./change.ts";
import type { Row } from "./memory.ts";
import type { TableName } from "./schema.ts";

/** One kind of rows: reads from memory, and makes the changes that `Store.commit` carries out. */
export class Table<Fixed, State> {
  readonly #name: TableName;
  readonly #rows: ReadonlyMap<string, Row<Fixed, State>>;

  /** `rows` is the store's own map, read through for as long as the store lives. */
  constructor(name: TableName, rows: ReadonlyMap<string, Row<Fixed, State>>) {
    this.#name = name;
    this.#rows = rows;
  }

  get(id: string): Row<Fixed, State> | undefined {
    return this.#rows.get(id);
  }

  /** Oldest first. A new array. */
  list(): readonly Row<Fixed, State>[] {
    return [...this.#rows.values()];
  }

  get size(): number {
    return this.#rows.size;
  }

  /** The commit throws `alreadyExists` when there is a row of this id. */
  insert(id: string, fixed: Fixed, state: State): Change {
    return { op: "insert", table: this.#name, id, fixed, state };
  }

  /** The commit throws `notFound` when there is no such row. */
  update(id: string, state: State): Change {
    return { op: "update", table: this.#name, id, state };
  }

  /** Absent: nothing to do. */
  delete(id: string): Change {
    return { op: "delete", table: this.#name, id };
  }
}

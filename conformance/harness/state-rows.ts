import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { exists } from "./event.ts";

/** Tables that rightly hold rows when no pod is left. */
const kept = /^(meta|images?|layers?|sqlite_)/;

/** How many rows each table of the state database holds, less empty ones and those that images fill. The server must be stopped: it holds the database alone. */
export async function stateRows(root: string): Promise<Record<string, number>> {
  const path = join(root, "state.db");
  if (!(await exists(path))) throw new Error(`no state database at ${path}`);
  const found: Record<string, number> = {};
  using database = new DatabaseSync(path, { readOnly: true });
  for (const { name } of database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all()) {
    const table = String(name);
    const count = rowsOf(database, table);
    if (count > 0) found[table] = count;
  }
  return found;
}

function rowsOf(database: DatabaseSync, table: string): number {
  if (table === "names") {
    // Names of images belong to images, which stay.
    return Number(database.prepare("SELECT count(*) AS n FROM names WHERE kind NOT LIKE 'image%'").get()?.n);
  }
  if (kept.test(table)) return 0;
  return Number(database.prepare(`SELECT count(*) AS n FROM "${table}"`).get()?.n);
}

import type { DatabaseSync } from "node:sqlite";

/**
 * The kinds of rows, each in a pair of tables `<kind>` and `<kind>_state`:
 *
 *     <kind>        seq INTEGER PRIMARY KEY, id TEXT UNIQUE, version INTEGER, fixed TEXT   written once
 *     <kind>_state  id TEXT PRIMARY KEY, version INTEGER, state TEXT                       rewritten on each transition
 *     names         kind TEXT, name TEXT, id TEXT, PRIMARY KEY (kind, name)                who holds a name
 *     meta          key TEXT PRIMARY KEY, value TEXT                                       schemaVersion, bootId, epoch, …
 *
 * Two tables rather than two columns: SQLite rewrites a whole row, and the configuration of a container can fill many
 * pages where its state is a few hundred bytes. `seq` keeps the order of insertion. `fixed` and `state` are JSON in
 * the encoding of `codec.ts`; `version` is the version of that JSON's shape (`rowVersions`).
 *
 * attachments is the network ledger, operations are what the launcher was asked to do and may still be doing.
 */
export const tableNames = ["sandboxes", "containers", "images", "layers", "attachments", "operations"] as const;

export type TableName = (typeof tableNames)[number];

/** The version of the JSON that this program writes. Later ones only add optional members, so that older programs read them. */
export const rowVersions: Readonly<Record<TableName, number>> = {
  sandboxes: 1,
  containers: 1,
  images: 1,
  layers: 1,
  attachments: 1,
  operations: 1,
};

/** The schema that this program writes. */
export const schemaVersion = 1;

/**
 * The oldest schema version whose programs can still work with what this program writes. Changes are additive only, so
 * this is never less than `schemaVersion - 1`: a roll-back by one version needs no conversion.
 */
export const readableBy = 1;

/** `migrations[n]` turns a database of version n into one of version n + 1; 0 is an empty file. */
export const migrations: readonly ((database: DatabaseSync) => void)[] = [createVersion1];

/** The tables of version 1. Never edited: what comes later is a migration of its own. */
function createVersion1(database: DatabaseSync): void {
  const kinds = ["sandboxes", "containers", "images", "layers", "attachments", "operations"];
  for (const kind of kinds) {
    database.exec(
      `CREATE TABLE ${kind} (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, version INTEGER NOT NULL, fixed TEXT NOT NULL)`,
    );
    database.exec(
      `CREATE TABLE ${kind}_state (id TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL, state TEXT NOT NULL) WITHOUT ROWID`,
    );
  }
  database.exec(
    "CREATE TABLE names (kind TEXT NOT NULL, name TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID",
  );
}

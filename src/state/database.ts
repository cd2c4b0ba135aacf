import { DatabaseSync, type StatementSync } from "node:sqlite";
import { DomainError, failedPrecondition, messageOf } from "../lib/errors.ts";
import { type Change, describeChange } from "./change.ts";
import { decode, encode } from "./codec.ts";
import { migrations, readableBy, rowVersions, schemaVersion, type TableName, tableNames } from "./schema.ts";

// Primary result codes of SQLite; the upper bits of an error code say more.
const BUSY = 5;
const FULL = 13;
const CORRUPT = 11;
const CONSTRAINT = 19;
const NOT_A_DATABASE = 26;

/**
 * The file on disk, behind prepared statements. Everything here is synchronous: a transaction is a write to the WAL
 * without a sync. The connection holds the file's lock for as long as it is open; nothing else in this process may
 * open and close the same file, for that would drop the lock (POSIX locks belong to the process).
 */
export class Database {
  readonly #path: string;
  readonly #connection: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  private constructor(path: string, connection: DatabaseSync) {
    this.#path = path;
    this.#connection = connection;
  }

  /**
   * Opens or creates the file, locks it and brings its schema up to date. Returns undefined when another process holds
   * the lock; throws `failedPrecondition` when the file is damaged or was written by a program that is too new.
   */
  static open(path: string): Database | undefined {
    const connection = new DatabaseSync(path);
    try {
      connection.exec("PRAGMA locking_mode=EXCLUSIVE");
      connection.exec("PRAGMA journal_mode=WAL");
      connection.exec("PRAGMA synchronous=NORMAL");
      connection.exec("PRAGMA wal_autocheckpoint=0");
      connection.exec("PRAGMA temp_store=MEMORY");
      connection.exec("PRAGMA cache_size=-512"); // KiB; reads come from our own memory, not from these pages
      connection.exec("BEGIN IMMEDIATE");
      migrate(connection, path);
      connection.exec("COMMIT");
      return new Database(path, connection);
    } catch (error) {
      connection.close();
      if (resultCode(error) === BUSY) return undefined;
      throw openingError(error, path);
    }
  }

  /** Hands over every row of the file, as the changes that would make it. */
  load(apply: (change: Change) => void): void {
    for (const table of tableNames) this.#loadTable(table, apply);
    for (const { kind, name, id } of this.#prepare("SELECT kind, name, id FROM names").all()) {
      apply({ op: "reserve", kind: String(kind), name: String(name), id: String(id) });
    }
    for (const { key, value } of this.#prepare("SELECT key, value FROM meta").all()) {
      apply({ op: "meta", key: String(key), value: String(value) });
    }
  }

  /** All of `changes` or none. Throws `alreadyExists`, `notFound`, `resourceExhausted` (disk full) or an SQLite error. */
  transact(changes: Iterable<Change>): void {
    let current: Change | undefined;
    this.#prepare("BEGIN IMMEDIATE").run();
    try {
      for (const change of changes) {
        current = change;
        this.#carryOut(change);
      }
      current = undefined;
      this.#prepare("COMMIT").run();
    } catch (error) {
      // SQLite has rolled back by itself after some errors (a full disk), not after others (a constraint).
      if (this.#connection.isTransaction) this.#connection.exec("ROLLBACK");
      throw this.#explained(error, current);
    }
  }

  /**
   * Moves the WAL's contents into the database and empties the WAL. Blocks for as long as the disk takes. With
   * synchronous=NORMAL, SQLite syncs the WAL before it writes to the database and the database before it resets the
   * WAL, so that at no point the only copy of a committed page is an unsynced one.
   */
  checkpoint(): void {
    this.#connection.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  }

  /** Checkpoints and gives the lock back. */
  close(): void {
    this.#connection.close();
  }

  #loadTable(table: TableName, apply: (change: Change) => void): void {
    const rows = this.#prepare(
      `SELECT id, fixed, state FROM ${table} JOIN ${table}_state USING (id) ORDER BY seq`,
    ).all();
    for (const { id, fixed, state } of rows) {
      try {
        apply({ op: "insert", table, id: String(id), fixed: decode(String(fixed)), state: decode(String(state)) });
      } catch (error) {
        throw failedPrecondition(`${this.#path}: row ${String(id)} of ${table} is damaged: ${messageOf(error)}`);
      }
    }
  }

  #carryOut(change: Change): void {
    switch (change.op) {
      case "insert": {
        const { table, id } = change;
        const version = rowVersions[table];
        this.#prepare(`INSERT INTO ${table} (id, version, fixed) VALUES (?, ?, ?)`).run(
          id,
          version,
          encode(change.fixed),
        );
        const text = encode(change.state);
        this.#prepare(`INSERT INTO ${table}_state (id, version, state) VALUES (?, ?, ?)`).run(id, version, text);
        return;
      }
      case "update": {
        const update = this.#prepare(`UPDATE ${change.table}_state SET version = ?, state = ? WHERE id = ?`);
        const { changes } = update.run(rowVersions[change.table], encode(change.state), change.id);
        if (changes === 0) throw new DomainError("notFound", `there is no ${change.id} in ${change.table}`);
        return;
      }
      case "delete":
        this.#prepare(`DELETE FROM ${change.table} WHERE id = ?`).run(change.id);
        this.#prepare(`DELETE FROM ${change.table}_state WHERE id = ?`).run(change.id);
        return;
      case "reserve":
        this.#prepare("INSERT INTO names (kind, name, id) VALUES (?, ?, ?)").run(change.kind, change.name, change.id);
        return;
      case "release":
        this.#prepare("DELETE FROM names WHERE kind = ? AND name = ?").run(change.kind, change.name);
        return;
      case "meta":
        this.#prepare("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)").run(change.key, change.value);
    }
  }

  #prepare(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#connection.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }

  #explained(error: unknown, change: Change | undefined): unknown {
    switch (resultCode(error)) {
      case FULL:
        return new DomainError("resourceExhausted", `no space left for ${this.#path}: free space on its file system`, {
          fields: { path: this.#path },
          cause: error,
        });
      case CONSTRAINT: {
        const what = change === undefined ? "transaction" : describeChange(change);
        return new DomainError("alreadyExists", `cannot ${what}: it exists already`, { cause: error });
      }
      default:
        return error;
    }
  }
}

function migrate(connection: DatabaseSync, path: string): void {
  connection.exec("CREATE TABLE IF NOT EXISTS meta (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID");
  const version = readNumber(connection, "schemaVersion");
  const oldest = readNumber(connection, "readableBy");
  if (oldest > schemaVersion) {
    throw failedPrecondition(
      `${path} has schema version ${version}, readable by programs of ${oldest} and later; this one knows ${schemaVersion}: ` +
        "install the newer nacelle again, or use another root",
    );
  }
  if (version >= schemaVersion) return; // equal, or newer by additions that this program need not know
  for (const migration of migrations.slice(version)) migration(connection);
  const write = connection.prepare("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)");
  write.run("schemaVersion", String(schemaVersion));
  write.run("readableBy", String(readableBy));
}

function readNumber(connection: DatabaseSync, key: string): number {
  const row = connection.prepare("SELECT value FROM meta WHERE key = ?").get(key);
  return row === undefined ? 0 : Number(row.value);
}

function openingError(error: unknown, path: string): unknown {
  if (error instanceof DomainError) return error;
  const code = resultCode(error);
  if (code === CORRUPT || code === NOT_A_DATABASE) {
    const message = `${path} is damaged (${messageOf(error)}): move it away, then \`nacelle wipe\` what it described`;
    return new DomainError("failedPrecondition", message, { cause: error });
  }
  if (code === FULL) return new DomainError("resourceExhausted", `no space left for ${path}`, { cause: error });
  return new DomainError("failedPrecondition", `cannot open ${path}: ${messageOf(error)}`, { cause: error });
}

/** The primary result code of an error of node:sqlite; -1 for any other error. */
function resultCode(error: unknown): number {
  if (!(error instanceof Error) || !("errcode" in error) || typeof error.errcode !== "number") return -1;
  return error.errcode & 0xff;
}

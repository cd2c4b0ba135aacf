import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Change } from "./change.ts";
import { Database } from "./database.ts";

/**
 * Replaces `state.db` by a new file made of `contents` alone; nothing of the old file or its WAL is read. `release`
 * must close every handle on the old ones; it is called once the new file is complete and synced.
 *
 * A WAL beside a database that it does not belong to would be replayed into it, so the old WAL has to go before the
 * new file takes its name; and in between, the old database lacks what only its WAL held. The complete new file under
 * the name `state.db.whole` bridges that gap: whoever opens the root finishes the work first (`finishRewrite`).
 */
export function rewrite(root: string, contents: Iterable<Change>, release: () => void): void {
  const path = join(root, "state.db.new");
  for (const suffix of ["", "-wal", "-shm"]) rmSync(path + suffix, { force: true });
  const database = Database.open(path);
  if (database === undefined) throw new Error(`${path} is locked by another process`);
  try {
    database.transact(contents);
    database.checkpoint();
  } finally {
    database.close(); // checkpoints, syncs and removes its WAL
  }
  syncPath(path);
  renameSync(path, join(root, "state.db.whole"));
  syncPath(root);
  release();
  finishRewrite(root);
}

/** Puts a complete new file in its place, if a rewrite was cut off before it could. Repeatable at any point. */
export function finishRewrite(root: string): void {
  const whole = join(root, "state.db.whole");
  if (!existsSync(whole)) return;
  rmSync(join(root, "state.db-wal"), { force: true });
  syncPath(root);
  renameSync(whole, join(root, "state.db"));
  syncPath(root);
}

function syncPath(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

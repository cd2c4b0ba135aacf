import { chmodSync, closeSync, fdatasync, fstatSync, fsyncSync, mkdirSync, openSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { DomainError, failedPrecondition, messageOf } from "../lib/errors.ts";
import { step } from "../lib/steps.ts";
import { type Change, describeChange, setMeta } from "./change.ts";
import { Database } from "./database.ts";
import { GroupSync } from "./group-sync.ts";
import { Memory, type Row } from "./memory.ts";
import { describeOwner, type Owner, removeOwner, writeOwner } from "./owner.ts";
import { Reserve } from "./reserve.ts";
import { finishRewrite, rewrite } from "./rewrite.ts";
import type { TableName } from "./schema.ts";
import { Table } from "./table.ts";

export interface StoreOptions {
  /** Absolute. Made if absent, mode 0700. */
  readonly root: string;
  /** /proc/sys/kernel/random/boot_id. */
  readonly bootId: string;
  readonly owner: Owner;
  /** Flushes an open file to disk; a test's way in. Default: fdatasync(2) on Node's thread pool. */
  readonly fdatasync?: (fd: number) => Promise<void>;
}

export interface CommitOptions {
  /** It frees space, or must not be lost: may use the reserve when the disk is full. */
  readonly essential?: boolean;
}

const fdatasyncOnThreadPool = promisify(fdatasync);

/** A WAL smaller than this is not worth a checkpoint; one of 9 MB blocks the event loop for 140 ms. */
const checkpointBytes = 512 * 1024;

/**
 * The state of the node, in memory and in `<root>/state.db`.
 *
 * Reads come from memory. `commit` is one synchronous transaction, 0.05 ms, without a sync: what it wrote survives
 * the death of this process at once, and the death of the machine when `durable` has resolved. Acknowledge nothing
 * before that. The root belongs to this object until it is disposed.
 */
export class Store implements AsyncDisposable {
  readonly #options: StoreOptions;
  readonly #memory: Memory;
  readonly #reserve: Reserve;
  readonly #sync: GroupSync;
  #database: Database;
  /** A second handle on the WAL, for syncs. Closing it drops no lock: the lock is on the database file. */
  #wal: number;
  /** Observations that are in memory but could not be written yet. */
  #backlog: Change[] = [];
  #phase: "open" | "closed" = "open";

  /** The boot in which this state was written; undefined for a new root. */
  readonly previousBootId: string | undefined;
  /** Grows by one at each open, durably: which daemon is the newest. */
  readonly epoch: number;

  private constructor(options: StoreOptions, database: Database) {
    this.#options = options;
    this.#database = database;
    this.#memory = new Memory();
    this.#reserve = new Reserve(options.root);
    database.load((change) => this.#memory.apply(change));
    this.previousBootId = this.#memory.meta("bootId");
    this.epoch = Number(this.#memory.meta("epoch") ?? 0) + 1;
    const changes = [setMeta("epoch", String(this.epoch))];
    if (this.previousBootId === undefined) changes.push(setMeta("bootId", options.bootId));
    database.transact(changes);
    for (const change of changes) this.#memory.apply(change);
    this.#wal = openWal(options.root);
    const flush = options.fdatasync ?? fdatasyncOnThreadPool;
    this.#sync = new GroupSync(() => flush(this.#wal));
    this.#reserve.fill();
  }

  /**
   * Takes the root for this process and loads everything. Blocks (start-up only). Throws `failedPrecondition`, with one
   * line for the operator, when another process uses the root (it is named), when a newer program wrote it, or when it
   * is damaged. The first commit after a reboot must hold `bootRecorded()`, see there.
   */
  static open(options: StoreOptions): Store {
    const { root, owner } = options;
    mkdirSync(root, { recursive: true, mode: 0o700 });
    chmodSync(root, 0o700);
    finishRewrite(root);
    const database = Database.open(join(root, "state.db"));
    if (database === undefined)
      throw failedPrecondition(`${root} is in use by ${describeOwner(root)}`, { root, reason: "rootInUse" });
    try {
      const store = new Store(options, database);
      writeOwner(root, owner);
      for (const path of [root, dirname(root)]) syncDirectory(path);
      return store;
    } catch (error) {
      database.close();
      throw error;
    }
  }

  /** True when the machine was rebooted since this state was written: no process, mount or namespace of it exists. */
  get rebooted(): boolean {
    return this.previousBootId !== undefined && this.previousBootId !== this.#options.bootId;
  }

  /**
   * Notes the present boot. It belongs into the one transaction that ends everything of the last boot: written earlier,
   * a crash between the two would make a dead sandbox look alive.
   */
  bootRecorded(): Change {
    return setMeta("bootId", this.#options.bootId);
  }

  /** The caller says what its rows hold; they are read as they were written. */
  table<Fixed, State>(name: TableName): Table<Fixed, State> {
    return new Table(name, this.#memory.rows(name) as ReadonlyMap<string, Row<Fixed, State>>);
  }

  /** Who holds a name, from memory. */
  holder(kind: string, name: string): string | undefined {
    return this.#memory.holder(kind, name);
  }

  meta(key: string): string | undefined {
    return this.#memory.meta(key);
  }

  /**
   * Carries out all changes or none: on disk (not yet durable), then in memory. Throws `alreadyExists` for a row or
   * name that is taken, `notFound` for an update of nothing, `resourceExhausted` when the disk is full; memory is then
   * as it was.
   */
  commit(changes: readonly Change[], { essential = false }: CommitOptions = {}): void {
    if (!essential && !this.#reserve.held) this.#requireRoom();
    this.#write([...this.#backlog, ...changes], essential);
    this.#backlog = [];
    for (const change of changes) this.#memory.apply(change);
    step("commit", () => changes.map(describeChange).join(", "));
  }

  /** `commit`, then `durable`. */
  async save(changes: readonly Change[], options: CommitOptions = {}): Promise<void> {
    this.commit(changes, options);
    await this.durable();
  }

  /**
   * Records what has happened whether the disk likes it or not (an exit, an OOM, a loss): in memory at once, on disk at
   * once if that works, else with the next commit. Never throws for the disk's sake; `durable` tells.
   */
  observe(changes: readonly Change[]): void {
    for (const change of changes) this.#memory.apply(change);
    this.#backlog.push(...changes);
    try {
      this.#flushBacklog();
    } catch {
      return; // kept; `durable` tries again and throws what is wrong
    }
    step("commit", () => changes.map(describeChange).join(", "));
  }

  /**
   * Resolves when everything committed or observed before this call is on disk, come what may. Rejects when it cannot
   * be written (`resourceExhausted`) or when a sync failed (`unavailable`): then nothing is durable until `repair`.
   */
  async durable(): Promise<void> {
    this.#flushBacklog();
    await this.#sync.durable();
  }

  /** Why nothing can be promised at the moment; empty when it can. */
  get problem(): string {
    return this.#sync.failure?.message ?? "";
  }

  /** How often something was written, and synced, since the start. */
  get counts(): GroupSync["counts"] {
    return this.#sync.counts;
  }

  /** True when it would be worth calling `quiet`. */
  get wantsQuiet(): boolean {
    if (this.#phase === "closed") return false;
    const { held } = this.#reserve;
    return !held || this.#backlog.length > 0 || this.#sync.failure !== undefined || this.#walBytes() >= checkpointBytes;
  }

  /**
   * Housekeeping for a moment when nobody waits; blocks the event loop for some milliseconds: tries again what could
   * not be written, checkpoints a WAL that has grown, makes the reserve anew, rewrites the file after a failed sync.
   */
  async quiet(): Promise<void> {
    if (this.#sync.failure !== undefined) await this.repair();
    this.#flushBacklog();
    if (this.#walBytes() >= checkpointBytes) await this.checkpoint();
    this.#reserve.fill();
  }

  /** Empties the WAL into the database. The sync comes first, off the event loop, so that SQLite finds little to sync. */
  async checkpoint(): Promise<void> {
    await this.durable();
    if (this.#phase === "closed") return;
    try {
      this.#database.checkpoint();
      // SQLite syncs the header of a new WAL, on the event loop: now, not in the path of a request.
      this.#database.transact([setMeta("epoch", String(this.epoch))]);
    } catch (error) {
      throw this.#sync.fail(error);
    }
  }

  /** Gives the reserve's space up. Until `quiet` could fill it again, only essential commits are accepted. */
  releaseReserve(): void {
    this.#reserve.release();
  }

  /**
   * After a failed sync: writes everything that memory holds into a new file, syncs it, and puts it in the old one's
   * place. Blocks. When it throws, the store is as undurable as before.
   */
  async repair(): Promise<void> {
    await this.#sync.idle();
    const { root } = this.#options;
    rewrite(root, this.#memory.snapshot(), () => {
      closeSync(this.#wal);
      this.#database.close();
    });
    const database = Database.open(join(root, "state.db"));
    if (database === undefined) throw this.#sync.fail(new Error(`${root} was taken by ${describeOwner(root)}`));
    this.#database = database;
    database.transact([setMeta("epoch", String(this.epoch))]); // makes the WAL
    this.#wal = openWal(root);
    this.#backlog = [];
    this.#sync.reset();
  }

  /** Writes what is left, checkpoints, gives the root back. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#phase === "closed") return;
    await this.#sync.durable().catch(() => undefined); // serves who waits; closing syncs the rest
    await this.#sync.idle();
    this.#phase = "closed";
    try {
      this.#flushBacklog();
    } finally {
      removeOwner(this.#options.root);
      this.#database.close();
      closeSync(this.#wal);
    }
  }

  #flushBacklog(): void {
    if (this.#backlog.length === 0) return;
    this.#write(this.#backlog, true);
    this.#backlog = [];
  }

  #write(changes: readonly Change[], essential: boolean): void {
    try {
      this.#database.transact(changes);
    } catch (error) {
      const full = error instanceof DomainError && error.kind === "resourceExhausted";
      if (!full || !essential || !this.#reserve.held) throw error;
      this.#reserve.release();
      this.#database.transact(changes);
    }
    this.#sync.written();
  }

  #requireRoom(): void {
    if (this.#reserve.fill()) return;
    const { root } = this.#options;
    throw new DomainError("resourceExhausted", `no space left in ${root}: free space on its file system`, {
      fields: { path: root },
    });
  }

  #walBytes(): number {
    return fstatSync(this.#wal).size;
  }
}

/** Opens the WAL that the connection has made, and syncs it: what was found in it may have been written but not synced. */
function openWal(root: string): number {
  const fd = openSync(join(root, "state.db-wal"), "r");
  fsyncSync(fd);
  return fd;
}

function syncDirectory(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } catch (error) {
    throw new DomainError("failedPrecondition", `cannot sync ${path}: ${messageOf(error)}`, { cause: error });
  } finally {
    closeSync(fd);
  }
}

import { STATS_SLOTS, type StatsSet, type TakeReading } from "../launcher/stats-protocol.ts";
import { DomainError } from "../lib/errors.ts";

/** The process that reads files; the launcher's `StatsReader`. */
export interface FileReader extends Disposable {
  /** False once it is of no further use: what was added is forgotten. */
  readonly isOpen: boolean;
  add(slot: number, set: StatsSet): Promise<void>;
  remove(slots: readonly number[]): Promise<void>;
  read(level: number, slots: readonly number[], take: TakeReading): Promise<void>;
}

/** Something whose files are read together. */
export interface Subject {
  /** Ends with the id of a sandbox or container, behind a word and a blank if that has several. */
  readonly id: string;
  /** Always the same for one id; asked for when it is read for the first time. */
  readonly files: () => StatsSet;
}

/** The sandbox's or container's id that is in a subject's. */
export function idOfSubject(subject: string): string {
  return subject.slice(subject.indexOf(" ") + 1);
}

export interface StatsFilesPorts {
  readonly open: () => Promise<FileReader>;
  /** Ids of the sandboxes and containers that there are: what belongs to no other is forgotten. */
  readonly ids: () => ReadonlySet<string>;
}

/**
 * The files of many subjects, read in one batch by one process. That is started when it is first needed; what it was told
 * is told again to the next one when it or the launcher has died.
 */
export class StatsFiles implements Disposable {
  readonly #ports: StatsFilesPorts;
  #opening: Promise<FileReader> | undefined;
  #reader: FileReader | undefined;
  #slots = new Map<string, number>();
  #free: number[] = [];
  #next = 0;

  constructor(ports: StatsFilesPorts) {
    this.#ports = ports;
  }

  /**
   * Tells `take` of one reading per subject, in their order, and of some twice when the reader died in between. Rejects
   * with `unavailable` when that happens twice in a row.
   */
  async read(level: number, subjects: readonly Subject[], take: TakeReading): Promise<void> {
    if (subjects.length === 0) return;
    try {
      await this.#read(await this.#opened(), level, subjects, take);
    } catch (error) {
      if (!(error instanceof DomainError && error.kind === "unavailable")) throw error;
      await this.#read(await this.#opened(), level, subjects, take);
    }
  }

  [Symbol.dispose](): void {
    this.#reader?.[Symbol.dispose]();
  }

  async #read(reader: FileReader, level: number, subjects: readonly Subject[], take: TakeReading): Promise<void> {
    const fresh = subjects.filter(({ id }) => !this.#slots.has(id));
    if (fresh.length > 0) this.#forgetGone(reader);
    // Sent in this order, answered in this order: nobody reads a place before it is described.
    const added = fresh.filter(({ id }) => !this.#slots.has(id)).map((subject) => this.#add(reader, subject));
    const slots = subjects.map(({ id }) => this.#slots.get(id) ?? 0);
    await Promise.all([reader.read(level, slots, take), ...added]);
  }

  async #add(reader: FileReader, { id, files }: Subject): Promise<void> {
    const slot = this.#take(id);
    try {
      await reader.add(slot, files());
    } catch (error) {
      if (this.#slots.get(id) === slot) this.#slots.delete(id);
      throw error;
    }
  }

  #take(id: string): number {
    const slot = this.#free.pop() ?? this.#next++;
    if (slot >= STATS_SLOTS)
      throw new DomainError("resourceExhausted", `statistics of more than ${STATS_SLOTS} cgroups`);
    this.#slots.set(id, slot);
    return slot;
  }

  #forgetGone(reader: FileReader): void {
    const ids = this.#ports.ids();
    const gone = [...this.#slots].filter(([subject]) => !ids.has(idOfSubject(subject)));
    if (gone.length === 0) return;
    for (const [id, slot] of gone) {
      this.#slots.delete(id);
      this.#free.push(slot);
    }
    // A reader that is gone has closed them all.
    reader.remove(gone.map(([, slot]) => slot)).catch(() => undefined);
  }

  async #opened(): Promise<FileReader> {
    if (this.#reader?.isOpen === true) return this.#reader;
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async #open(): Promise<FileReader> {
    const reader = await this.#ports.open();
    this.#reader = reader;
    this.#slots = new Map();
    this.#free = [];
    this.#next = 0;
    return reader;
  }
}

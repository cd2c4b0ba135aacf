import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Operations } from "../launcher/operations.ts";
import { DomainError } from "../lib/errors.ts";
import { measured } from "../lib/measures.ts";
import { Retries } from "../lib/retries.ts";
import type { Change } from "../state/change.ts";
import type { Store } from "../state/store.ts";
import type { Table } from "../state/table.ts";
import { type LayerDescriptor, mismatch } from "./image-content.ts";
import type { UnpackedLayer } from "./layer/layer-task.ts";
import type { LayerWorkers } from "./layer/layer-workers.ts";
import { SharedFlights } from "./shared-flights.ts";
import type { Unpacker } from "./unpacker.ts";

/** A layer on disk. The row's id is the digest of the compressed layer. */
export interface LayerRow {
  readonly diffId: string;
  /** Name of its directory: short, because mount options end at one page. */
  readonly directory: number;
  readonly allocatedBytes: number;
  readonly inodes: number;
}

interface Entry {
  readonly digest: string;
  readonly row: LayerRow;
  /** Images, pulls and containers that need it. */
  holds: number;
  /** It has a row: it survives a restart. */
  isStored: boolean;
  expiry: NodeJS.Timeout | undefined;
}

export interface LayerStorePorts {
  /** Absolute; layers are `<root>/layers/<n>`. */
  readonly root: string;
  readonly store: Store;
  readonly operations: Operations;
  readonly unpacker: Unpacker;
  readonly workers: LayerWorkers;
  /** Told once per failed attempt to remove a directory. */
  readonly report: (message: string) => void;
}

/** Verified layers of a pull that was given up are kept so long for the next one. */
const keepMs = 10 * 60_000;
const silenceMs = 120_000;
const removeMs = 10 * 60_000;
const makeMs = 30_000;

/**
 * Layer directories, each shared by all images that have the layer. A layer is known only when all its bytes were
 * verified, and survives a restart only when its row was committed with an image's. What is not held is removed.
 */
export class LayerStore implements AsyncDisposable {
  readonly #ports: LayerStorePorts;
  readonly #table: Table<LayerRow, Record<string, never>>;
  readonly #entries = new Map<string, Entry>();
  readonly #flights = new SharedFlights<Entry>();
  readonly #removals: Retries;
  #next = 1;
  #usage = { bytes: 0, inodes: 0 };

  constructor(ports: LayerStorePorts) {
    this.#ports = ports;
    this.#table = ports.store.table("layers");
    this.#removals = new Retries(({ key, lastError }) => ports.report(`cannot remove ${key}: ${lastError}`));
  }

  get directory(): string {
    return join(this.#ports.root, "layers");
  }

  /** Of all layers. */
  get usage(): { readonly bytes: number; readonly inodes: number } {
    return this.#usage;
  }

  /** Digests of the layers whose directories are there. To be called once, before anything else; removes leftovers. */
  async recover(): Promise<ReadonlySet<string>> {
    const { operations } = this.#ports;
    const make = { owner: "images", what: "making the layer directory", deadlineMs: makeMs };
    await operations.perform([{ op: "mkdir", path: this.directory, mode: 0o700, parents: true }], make);
    const names = new Set(await readdir(this.directory));
    for (const { id, fixed } of this.#table.list()) {
      this.#next = Math.max(this.#next, fixed.directory + 1);
      if (names.delete(String(fixed.directory))) this.#add(id, fixed, true);
    }
    for (const name of names) {
      const number = /^[0-9]{1,15}$/.test(name) ? Number(name) : 0;
      this.#next = Math.max(this.#next, number + 1);
      this.#removeTree(join(this.directory, name));
    }
    return new Set(this.#entries.keys());
  }

  /** Removes what nobody holds; to be called when all images and containers have taken their holds. */
  async prune(): Promise<void> {
    const known = new Set(this.#entries.keys());
    const lost = this.#table.list().filter(({ id }) => !known.has(id));
    if (lost.length > 0) await this.#ports.store.save(lost.map(({ id }) => this.#table.delete(id)));
    for (const entry of this.#entries.values()) if (entry.holds === 0) this.#drop(entry);
  }

  /** Keeps a known layer until the result is disposed. Throws a `RangeError` for an unknown one: a bug. */
  hold(digest: string): Disposable {
    const entry = this.#entries.get(digest);
    if (entry === undefined) throw new RangeError(`layer ${digest} is not known`);
    entry.holds += 1;
    clearTimeout(entry.expiry);
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        entry.holds -= 1;
        if (entry.holds === 0) this.#unused(entry);
      },
    };
  }

  pathOf(digest: string): string {
    return join(this.directory, String(this.#entries.get(digest)?.row.directory ?? "absent"));
  }

  rowOf(digest: string): LayerRow | undefined {
    return this.#entries.get(digest)?.row;
  }

  /**
   * Resolves with a hold on the layer, fetching and unpacking it unless it is there; one flight per layer over all pulls.
   * Throws `invalidArgument` when its bytes are not what `layer` says, `signal.reason`, or what `fetch` throws.
   */
  async ensure(
    layer: LayerDescriptor,
    fetch: (signal: AbortSignal) => AsyncIterable<Buffer>,
    signal: AbortSignal,
  ): Promise<Disposable> {
    const { digest, size, diffId, compression } = layer;
    if (!this.#entries.has(digest)) {
      // What a manifest claims besides the digest is part of the key: a lying one must not spoil an honest one's flight.
      const key = [digest, diffId, size, compression].join(" ");
      await this.#flights.join(key, (shared) => this.#unpack(layer, fetch(shared), shared), signal);
    }
    const hold = this.hold(digest);
    const actual = this.rowOf(digest)?.diffId ?? "";
    if (actual === diffId) return hold;
    hold[Symbol.dispose]();
    throw mismatch("inflated layer", diffId, actual);
  }

  /** The rows that an image's commit has to bring along. */
  unstored(digests: readonly string[]): readonly Change[] {
    const entries = [...new Set(digests)].map((digest) => this.#entries.get(digest));
    return entries.flatMap((entry) =>
      entry === undefined || entry.isStored ? [] : [this.#table.insert(entry.digest, entry.row, {})],
    );
  }

  /** After that commit. */
  stored(digests: readonly string[]): void {
    for (const digest of digests) {
      const entry = this.#entries.get(digest);
      if (entry !== undefined) entry.isStored = true;
    }
  }

  /** Waits for removals that run; what is left is found at the next start. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const { expiry } of this.#entries.values()) clearTimeout(expiry);
    await this.#removals[Symbol.asyncDispose]();
  }

  async #unpack(layer: LayerDescriptor, source: AsyncIterable<Buffer>, signal: AbortSignal): Promise<Entry> {
    const { operations, unpacker, workers } = this.#ports;
    const since = performance.now();
    const directory = this.#next++;
    const path = join(this.directory, String(directory));
    const open = async () => {
      const make = { owner: "images", what: `making layer directory ${path}`, deadlineMs: makeMs };
      await operations.perform([{ op: "mkdir", path, mode: 0o755 }], make);
      return (await unpacker.startUnpack(path, silenceMs)).socketPath;
    };
    try {
      const unpacked = await workers.unpack(source, open, layer.compression, signal);
      verify(layer, unpacked);
      measured({ kind: "layer", bytes: layer.size, seconds: (performance.now() - since) / 1000 });
      const { diffId, allocatedBytes, inodes } = unpacked;
      const known = this.#entries.get(layer.digest);
      if (known === undefined) return this.#add(layer.digest, { diffId, directory, allocatedBytes, inodes }, false);
      this.#removeTree(path); // another flight of the same digest was faster
      return known;
    } catch (error) {
      this.#removeTree(path);
      throw ofLayer(error, layer);
    }
  }

  #add(digest: string, row: LayerRow, isStored: boolean): Entry {
    const entry: Entry = { digest, row, isStored, holds: 0, expiry: undefined };
    this.#entries.set(digest, entry);
    this.#count(row, 1);
    if (!isStored) this.#unused(entry);
    return entry;
  }

  #unused(entry: Entry): void {
    if (entry.isStored) {
      this.#drop(entry);
      return;
    }
    entry.expiry = setTimeout(() => this.#drop(entry), keepMs);
    entry.expiry.unref();
  }

  /** The row first, durably: a row without a directory would be a lie after a crash. */
  #drop(entry: Entry): void {
    const path = this.pathOf(entry.digest);
    this.#entries.delete(entry.digest);
    this.#count(entry.row, -1);
    if (entry.isStored) this.#ports.store.observe([this.#table.delete(entry.digest)]);
    this.#removeTree(path);
  }

  #count({ allocatedBytes, inodes }: LayerRow, sign: 1 | -1): void {
    this.#usage = { bytes: this.#usage.bytes + sign * allocatedBytes, inodes: this.#usage.inodes + sign * inodes };
  }

  /** Retried, since an unpack process that is about to end may still be writing. */
  #removeTree(path: string): void {
    const options = { owner: "images", what: `removing ${path}`, deadlineMs: removeMs };
    this.#removals.add(path, async () => {
      await this.#ports.store.durable();
      await this.#ports.operations.perform([{ op: "rmtree", path }], options);
    });
  }
}

/** Says which layer it was. */
function ofLayer(error: unknown, { digest }: LayerDescriptor): unknown {
  if (!(error instanceof DomainError) || error.message.includes(digest)) return error;
  return new DomainError(error.kind, `layer ${digest}: ${error.message}`, { cause: error });
}

function verify({ digest, size, diffId }: LayerDescriptor, actual: UnpackedLayer): void {
  if (actual.digest !== digest || actual.compressedBytes !== size) throw mismatch("layer", digest, actual.digest);
  if (actual.diffId !== diffId) throw mismatch("inflated layer", diffId, actual.diffId);
}

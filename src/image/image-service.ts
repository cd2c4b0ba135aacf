import { createHash } from "node:crypto";
import type { Operations } from "../launcher/operations.ts";
import { failedPrecondition, invalidArgument, notFound } from "../lib/errors.ts";
import type { Turns } from "../lib/turns.ts";
import type { Change } from "../state/change.ts";
import type { Store } from "../state/store.ts";
import type { Table } from "../state/table.ts";
import { type Filesystems, filesystems, type ImagePlaces, type SpaceTaken } from "./filesystem-usage.ts";
import {
  candidates,
  findImage,
  type Image,
  type ImageRow,
  type ImageState,
  named,
  type StoredImage,
  toImage,
  untagged,
} from "./image.ts";
import type { ImageConfig } from "./image-config.ts";
import type { ImageContent, ResolvedImage } from "./image-content.ts";
import { ensureLayers, repositoriesFor, resolveFirst } from "./image-pull.ts";
import type { LayerStore } from "./layer-store.ts";
import { OciLayout } from "./oci-layout.ts";
import { formatReference, parseReference, type Reference } from "./reference.ts";
import type { AuthConfig } from "./registry/auth-file.ts";
import { type RegistryPaths, readRegistryFiles } from "./registry/config-files.ts";
import type { HttpClient } from "./registry/http.ts";
import { SharedFlights } from "./shared-flights.ts";

export interface ImageServicePorts {
  readonly store: Store;
  readonly operations: Operations;
  readonly layers: LayerStore;
  readonly http: HttpClient;
  readonly registries: RegistryPaths;
  /** Whether an image's files are synced before it is recorded. */
  readonly sync: boolean;
  /** How many images are pulled at a time; beyond the queue a pull is refused at once. */
  readonly turns: Turns;
  readonly places: ImagePlaces;
  /** What containers have written, as far as it is known. */
  readonly written: () => SpaceTaken;
  readonly now: () => Temporal.Instant;
}

/** What of an image spec a pull needs. */
export interface PullSpec {
  readonly image: string;
}

/** An image that cannot go away while this is held. */
export interface HeldImage extends Disposable {
  readonly id: string;
  readonly repoDigests: readonly string[];
  readonly config: ImageConfig;
  /** Bottom first. */
  readonly layerDirs: readonly string[];
}

const syncMs = 15 * 60_000;

/** Images by name and id: pulls, finds, holds and removes them. Reads come from memory. */
export class ImageService {
  readonly #ports: ImageServicePorts;
  readonly #table: Table<ImageRow, ImageState>;
  readonly #pulls = new SharedFlights<string>();
  /** Of every row: its holds on its layers. */
  readonly #holds = new Map<string, DisposableStack>();
  /** Image ids by container. */
  readonly #retained = new Map<string, ReadonlySet<string>>();
  readonly #leases = new Map<string, number>();
  #searchRegistries: readonly string[] | undefined;

  constructor(ports: ImageServicePorts) {
    this.#ports = ports;
    this.#table = ports.store.table("images");
  }

  /**
   * Takes up what the state has; to be called once, first. An image that lost a layer is forgotten. Then containers are
   * to be `retain`ed again, and then `recovered` is to be called. Throws `invalidArgument` for a bad registries.conf.
   */
  async recover(): Promise<void> {
    const { layers, store, registries } = this.#ports;
    const present = await layers.recover();
    const damaged = this.#table.list().filter(({ fixed }) => !fixed.layers.every((digest) => present.has(digest)));
    if (damaged.length > 0) await store.save(damaged.map(({ id }) => this.#table.delete(id)));
    for (const { id, fixed } of this.#table.list()) this.#hold(id, fixed.layers);
    this.#searchRegistries = (await readRegistryFiles(registries)).conf.searchRegistries;
  }

  /** Containers hold their images again: what nobody holds is removed. */
  async recovered(): Promise<void> {
    for (const { id, state } of this.#table.list()) if (state.removed) this.#collect(id);
    await this.#ports.layers.prune();
  }

  /**
   * Resolves with the image's id, durably. One flight per reference and credentials; it ends within a second after the
   * last caller has given up, and keeps the layers that it has.
   */
  async pull(spec: PullSpec, auth: AuthConfig | undefined, signal: AbortSignal): Promise<string> {
    const text = spec.image;
    parseReference(text); // refuses what is malformed before anything is read
    const { http, registries } = this.#ports;
    const scope = createHash("sha256")
      .update(JSON.stringify(auth ?? null))
      .digest("hex");
    const work = async (shared: AbortSignal) => {
      using _turn = await this.#ports.turns.take(text, shared);
      const files = await readRegistryFiles(registries);
      this.#searchRegistries = files.conf.searchRegistries;
      let failure: unknown;
      for (const reference of candidates(text, files.conf.searchRegistries)) {
        try {
          return await this.#fetch(reference, repositoriesFor(http, files, reference, auth), shared);
        } catch (error) {
          shared.throwIfAborted();
          failure ??= error;
        }
      }
      throw failure;
    };
    return this.#pulls.join(`${text} ${scope}`, work, signal);
  }

  /** Pulls in flight, oldest first, as they were asked for. */
  pulling(): readonly string[] {
    return this.#pulls.keys().map((key) => key.slice(0, key.lastIndexOf(" ")));
  }

  /**
   * Takes images out of an OCI image layout on disk. `name` names its only image; without it every image is taken by the
   * name that the layout's index gives it. Resolves with their ids.
   */
  async importDirectory(directory: string, name: string | undefined, signal: AbortSignal): Promise<readonly string[]> {
    const layout = new OciLayout(directory);
    const entries = await layout.entries();
    if (name !== undefined && entries.length !== 1) {
      throw invalidArgument(`${directory} holds ${entries.length} images: one name cannot name them`);
    }
    const ids: string[] = [];
    for (const { digest, referenceName } of entries) {
      const given = name ?? referenceName;
      if (given === undefined) {
        throw invalidArgument(
          `${directory}: index.json gives ${digest} no org.opencontainers.image.ref.name; give a name`,
        );
      }
      ids.push(await this.#fetch(parseReference(given), [layout.named(digest)], signal));
    }
    return ids;
  }

  /** By tag, digest, id or unique id prefix; `undefined` when absent. Throws `invalidArgument` when malformed or ambiguous. */
  find(reference: string): Image | undefined {
    const found = findImage(this.#visible(), reference, this.#searchRegistries);
    return found === undefined ? undefined : toImage(found);
  }

  /** Oldest first. */
  list(): readonly Image[] {
    return this.#visible().map(toImage);
  }

  /** Removes the image with all its names, durably. Absent: nothing to do. In use: its files stay until that is gone. */
  async remove(reference: string): Promise<void> {
    const found = findImage(this.#visible(), reference, this.#searchRegistries);
    const { store } = this.#ports;
    if (found !== undefined) {
      store.commit([this.#table.update(found.id, { tags: [], digests: [], removed: true })], { essential: true });
      this.#collect(found.id);
    }
    await store.durable(); // also when another call removes it at this moment
  }

  /** Throws `notFound` when the image is not here. */
  acquire(reference: string): HeldImage {
    const found = findImage(this.#visible(), reference, this.#searchRegistries);
    if (found === undefined) throw notFound("image", reference);
    const { id, fixed, state } = found;
    this.#leases.set(id, (this.#leases.get(id) ?? 0) + 1);
    let held = true;
    return {
      id,
      repoDigests: state.digests,
      config: fixed.config,
      layerDirs: fixed.layers.map((digest) => this.#ports.layers.pathOf(digest)),
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        const left = (this.#leases.get(id) ?? 1) - 1;
        if (left > 0) this.#leases.set(id, left);
        else this.#leases.delete(id);
        this.#collect(id);
      },
    };
  }

  /** The container uses the image too from now on, until `release`. Throws `failedPrecondition` when the image is gone. */
  retain(containerId: string, imageId: string): void {
    if (this.#table.get(imageId) === undefined) throw failedPrecondition(`image ${imageId} of ${containerId} is gone`);
    this.#retained.set(containerId, new Set(this.#retained.get(containerId)).add(imageId));
  }

  /** Unknown container: nothing to do. */
  release(containerId: string): void {
    const imageIds = this.#retained.get(containerId) ?? [];
    this.#retained.delete(containerId);
    for (const imageId of imageIds) this.#collect(imageId);
  }

  /** From memory: layers as they are, writable layers as they were last measured. */
  fsInfo(): Filesystems {
    const { places, layers, written, now } = this.#ports;
    return filesystems(places, layers.usage, written(), now());
  }

  /** What layers take. */
  get usage(): SpaceTaken {
    return this.#ports.layers.usage;
  }

  async #fetch(reference: Reference, contents: readonly ImageContent[], signal: AbortSignal): Promise<string> {
    const { layers, operations, sync } = this.#ports;
    const resolved = await resolveFirst(contents, reference, signal);
    const { image } = resolved;
    using holds = await ensureLayers(layers, image, resolved.contents, signal);
    const digests = image.layers.map(({ digest }) => digest);
    if (sync && layers.unstored(digests).length > 0) {
      const what = `syncing the files of ${formatReference(reference)}`;
      await operations.perform([{ op: "syncfs", path: layers.directory }], {
        owner: "images",
        what,
        deadlineMs: syncMs,
      });
      signal.throwIfAborted();
    }
    await this.#record(reference, image, digests);
    holds.dispose(); // the row holds them now
    return image.id;
  }

  /** Image, new layers and the tag's move are one commit. */
  async #record(reference: Reference, image: ResolvedImage, digests: readonly string[]): Promise<void> {
    const { layers, store } = this.#ports;
    const { id, parsed, configBytes } = image;
    const existing = this.#table.get(id);
    const state = named(existing?.state, reference, image.digest);
    const changes: Change[] = [...layers.unstored(digests)];
    for (const other of this.#table.list()) {
      const taken = other.state.tags.filter((tag) => other.id !== id && state.tags.includes(tag));
      if (taken.length > 0) changes.push(this.#table.update(other.id, taken.reduce(untagged, other.state)));
    }
    if (existing === undefined) {
      const sizes = [...new Set(digests)].map((digest) => layers.rowOf(digest)?.allocatedBytes ?? 0);
      const sizeBytes = sizes.reduce((sum, size) => sum + size, configBytes);
      changes.push(this.#table.insert(id, { config: parsed.config, layers: digests, sizeBytes }, state));
    } else {
      changes.push(this.#table.update(id, state));
    }
    store.commit(changes);
    layers.stored(digests);
    if (existing === undefined) this.#hold(id, digests);
    await store.durable();
  }

  #hold(id: string, digests: readonly string[]): void {
    const holds = new DisposableStack();
    for (const digest of digests) holds.use(this.#ports.layers.hold(digest));
    this.#holds.set(id, holds);
  }

  /** Forgets a removed image that nobody uses any more, and gives its layers up. */
  #collect(id: string): void {
    const row = this.#table.get(id);
    const isUsed = this.#leases.has(id) || this.#retained.values().some((imageIds) => imageIds.has(id));
    if (row === undefined || !row.state.removed || isUsed) return;
    this.#ports.store.observe([this.#table.delete(id)]);
    this.#holds.get(id)?.dispose();
    this.#holds.delete(id);
  }

  #visible(): readonly StoredImage[] {
    return this.#table.list().filter(({ state }) => !state.removed);
  }
}

import { posix } from "node:path";
import type { FrameEncoder } from "./frames.ts";
import { type TarEntry, TarError, type TarEvent } from "./tar-entry.ts";

/** Bounds of one layer. A layer beyond them is refused. */
export interface LayerLimits {
  readonly maxEntries: number;
  /** Inflated bytes. */
  readonly maxBytes: number;
  /** Inflated to compressed bytes; asked only beyond 1 GiB inflated, since small files of zeros are honest. */
  readonly maxRatio: number;
}

export const defaultLimits: LayerLimits = { maxEntries: 2_000_000, maxBytes: 256 * 2 ** 30, maxRatio: 200 };

const whiteoutPrefix = ".wh.";
const opaqueName = ".wh..wh..opq";
const maxPathBytes = 4095;
const maxNameBytes = 255;
const maxXattrValueBytes = 65_536;

/**
 * Turns the entries of a layer's tar archive into frames: names made relative and clean, whiteouts told apart, extended
 * attributes chosen, times of directories kept for the end. Throws `TarError` for a layer that must be refused.
 */
export class LayerEncoder {
  readonly #frames: FrameEncoder;
  readonly #maxEntries: number;
  /** Times of directories: making something inside one changes its time. */
  readonly #times = new Map<string, TarEntry>();
  /** The file or directory that data and attributes belong to. */
  #open: TarEntry | undefined;
  #entries = 0;

  constructor(frames: FrameEncoder, maxEntries: number) {
    this.#frames = frames;
    this.#maxEntries = maxEntries;
    frames.begin();
  }

  take(event: TarEvent): void {
    if (event.type === "entry") this.#entry(event.entry);
    else if (this.#open?.kind === "file") this.#frames.data(event.offset, event.bytes);
  }

  /** The archive is complete. */
  end(): void {
    this.#close();
    for (const [path, { mtimeSeconds, mtimeNanoseconds }] of this.#times) {
      this.#frames.times(path, mtimeSeconds, mtimeNanoseconds);
    }
    this.#frames.end();
  }

  #entry(entry: TarEntry): void {
    this.#close();
    this.#entries += 1;
    if (this.#entries > this.#maxEntries) throw new TarError(`layer has more than ${this.#maxEntries} entries`);
    const path = layerPath(entry.path);
    const name = path.slice(path.lastIndexOf("/") + 1);
    if (name.startsWith(whiteoutPrefix)) this.#whiteout(path, name);
    else this.#make(path, entry);
  }

  #whiteout(path: string, name: string): void {
    const parent = path.slice(0, Math.max(0, path.length - name.length - 1));
    if (name === opaqueName) {
      this.#frames.opaque(parent);
      return;
    }
    if (name.startsWith(".wh..wh.")) return; // bookkeeping of AUFS
    const hidden = name.slice(whiteoutPrefix.length);
    if (hidden === "" || hidden === "." || hidden === "..") throw new TarError(`whiteout of ${JSON.stringify(hidden)}`);
    this.#frames.whiteout(parent === "" ? hidden : `${parent}/${hidden}`);
  }

  #make(path: string, entry: TarEntry): void {
    if (path === "" && entry.kind !== "directory") throw new TarError(`the root of the layer is a ${entry.kind}`);
    switch (entry.kind) {
      case "directory":
        this.#frames.directory(path, entry);
        this.#times.set(path, entry);
        break;
      case "file":
        this.#frames.file(path, entry, entry.size);
        break;
      case "symlink":
        if (entry.target === "" || entry.target.length > maxPathBytes || entry.target.includes("\0")) {
          throw new TarError(`symbolic link ${JSON.stringify(path)} has no valid target`);
        }
        this.#frames.symlink(path, entry.target, entry);
        break;
      case "hardlink":
        this.#hardlink(path, entry);
        break;
      default:
        this.#frames.node(path, entry, entry.kind, entry.deviceMajor, entry.deviceMinor);
    }
    if (entry.kind === "directory" || entry.kind === "file") this.#open = entry;
  }

  #hardlink(path: string, entry: TarEntry): void {
    const target = layerPath(entry.target);
    if (target === "") throw new TarError(`hard link ${JSON.stringify(path)} to the root`);
    this.#frames.hardlink(path, target);
  }

  /** Attributes come after the data: writing would take a capability away again. */
  #close(): void {
    for (const [name, value] of this.#open?.xattrs ?? []) {
      const isFile = this.#open?.kind === "file";
      if (isWanted(name, isFile) && value.length <= maxXattrValueBytes) this.#frames.xattr(name, value);
    }
    this.#open = undefined;
  }
}

/**
 * File capabilities and users' own attributes. Never `trusted.overlay.*` or `user.overlay.*`, with which an image
 * would redirect overlayfs to other directories; labels of security modules belong to the host that set them.
 */
function isWanted(name: string, isFile: boolean): boolean {
  if (name === "security.capability") return isFile;
  return name.startsWith("user.") && !name.startsWith("user.overlay.") && name.length <= maxNameBytes;
}

/** Relative to the layer's root, clean; "" is the root. Throws `TarError` for one that leads out or is too long. */
export function layerPath(path: string): string {
  if (path.includes("\0")) throw new TarError("name holds a NUL");
  const clean = posix.normalize(`./${path.replace(/^\/+/, "")}`).replace(/\/+$/, "");
  if (clean === "." || clean === "") return "";
  if (clean === ".." || clean.startsWith("../"))
    throw new TarError(`name ${JSON.stringify(path)} leads out of the layer`);
  if (clean.length > maxPathBytes) throw new TarError(`name of ${clean.length} bytes is longer than ${maxPathBytes}`);
  const long = clean.split("/").find((name) => name.length > maxNameBytes);
  if (long !== undefined)
    throw new TarError(`name ${JSON.stringify(long.slice(0, 40))}… is longer than ${maxNameBytes} bytes`);
  return clean;
}

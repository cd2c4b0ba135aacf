import { dirname, join, relative } from "node:path";
import type { Operation } from "../launcher/operations.ts";
import { DomainError } from "../lib/errors.ts";
import { MS_NODEV, MS_RDONLY } from "../sys/mount-flags.ts";

/** Makes the root file systems of containers. What it returns are values: the caller has the launcher perform them. */
export interface Snapshotter {
  /** Makes the writable layer and mounts it over `layerDirs` (bottom first) on `rootfs`, an existing directory. */
  prepare(containerId: string, layerDirs: readonly string[], rootfs: string): readonly Operation[];
  /** Mounts `layerDirs` (bottom first), which nobody can write to, on `target`, an existing empty directory. */
  view(layerDirs: readonly string[], target: string): readonly Operation[];
  /** Removes what `prepare` made, at whatever point that stopped. `rootfs` must be unmounted before. */
  remove(containerId: string): readonly Operation[];
}

/** mount(2) takes one page of options; its last byte is a NUL. */
const maxOptionBytes = 4095;

/**
 * overlayfs. The upper directory is `volatile`: no writable layer outlives a reboot, so nothing is synced on unmount.
 * `index` and `redirect_dir` are off: lower layers are shared by many mounts, and an image must not redirect.
 */
export class OverlaySnapshotter implements Snapshotter {
  readonly #layersDir: string;
  readonly #containersDir: string;

  /** `layersDir` must hold every layer directory; writable layers are made in `<containersDir>/<id>`. */
  constructor(layersDir: string, containersDir: string) {
    this.#layersDir = layersDir;
    this.#containersDir = containersDir;
  }

  prepare(containerId: string, layerDirs: readonly string[], rootfs: string): readonly Operation[] {
    const own = join(this.#containersDir, containerId);
    const upper = join(own, "upper");
    const work = join(own, "work");
    const empty = join(own, "empty");
    // An image may have no layers, but overlayfs wants a lower directory.
    const lower = layerDirs.length === 0 ? [empty] : layerDirs.toReversed();
    const data = this.#options(lower, `upperdir=${upper},workdir=${work},volatile,`);
    return [
      { op: "mkdir", path: own, mode: 0o700, parents: true },
      { op: "mkdir", path: upper, mode: 0o755 },
      { op: "mkdir", path: work, mode: 0o700 },
      ...(layerDirs.length === 0 ? [{ op: "mkdir", path: empty, mode: 0o755 } as const] : []),
      { op: "mount", source: "overlay", target: rootfs, type: "overlay", flags: 0, data, chdir: this.#layersDir },
    ];
  }

  view(layerDirs: readonly string[], target: string): readonly Operation[] {
    if (layerDirs.length === 0) return [];
    // Without an upper directory overlayfs wants two lower ones. The mount point by itself holds nothing.
    const data = this.#options([...layerDirs.toReversed(), ...(layerDirs.length === 1 ? [target] : [])], "");
    const flags = MS_RDONLY | MS_NODEV;
    return [{ op: "mount", source: "overlay", target, type: "overlay", flags, data, chdir: this.#layersDir }];
  }

  remove(containerId: string): readonly Operation[] {
    return [{ op: "rmtree", path: join(this.#containersDir, containerId) }];
  }

  #options(lower: readonly string[], upper: string): string {
    const lowerdir = lower.map((path) => this.#short(path)).join(":");
    const data = `lowerdir=${lowerdir},${upper}index=off,redirect_dir=off,metacopy=off`;
    if (data.length <= maxOptionBytes) return data;
    throw new DomainError("failedPrecondition", `image has too many layers: ${lower.length} do not fit one mount`);
  }

  #short(path: string): string {
    return dirname(path) === this.#layersDir ? relative(this.#layersDir, path) : path;
  }
}

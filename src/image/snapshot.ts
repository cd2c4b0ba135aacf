import { dirname, join, relative } from "node:path";
import type { Operation } from "../launcher/operations.ts";
import { DomainError } from "../lib/errors.ts";
import { MS_NODEV, MS_RDONLY } from "../sys/mount-flags.ts";

/** A user namespace of which a root file system is to be. */
export interface SnapshotUsers {
  /** Where it is pinned. */
  readonly pin: string;
  /** Who is root in it, in the host's ids. */
  readonly uid: number;
  readonly gid: number;
}

/** Makes the root file systems of containers. What it returns are values: the caller has the launcher perform them. */
export interface Snapshotter {
  /**
   * Makes the writable layer and mounts it over `layerDirs` (bottom first) on `rootfs`, an existing directory. With `users`
   * every file shows the owner that it has in that namespace.
   */
  prepare(
    containerId: string,
    layerDirs: readonly string[],
    rootfs: string,
    users?: SnapshotUsers,
  ): readonly Operation[];
  /** Mounts `layerDirs` (bottom first), which nobody can write to, on `target`, an existing empty directory; `users` as above. */
  view(layerDirs: readonly string[], target: string, users?: SnapshotUsers): readonly Operation[];
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

  prepare(
    containerId: string,
    layerDirs: readonly string[],
    rootfs: string,
    users?: SnapshotUsers,
  ): readonly Operation[] {
    const own = join(this.#containersDir, containerId);
    const upper = join(own, "upper");
    const work = join(own, "work");
    const empty = join(own, "empty");
    // An image may have no layers, but overlayfs wants a lower directory.
    const lower = layerDirs.length === 0 ? [empty] : layerDirs.toReversed();
    const options = `upperdir=${upper},workdir=${work},volatile,`;
    const owned = users === undefined ? [] : [upper, work].map((path) => toRootOf(users, path));
    return [
      { op: "mkdir", path: own, mode: 0o700, parents: true },
      { op: "mkdir", path: upper, mode: 0o755 },
      { op: "mkdir", path: work, mode: 0o700 },
      ...(layerDirs.length === 0 ? [{ op: "mkdir", path: empty, mode: 0o755 } as const] : []),
      ...owned,
      this.#overlay({ lower, options, target: rootfs, flags: 0 }, users),
    ];
  }

  view(layerDirs: readonly string[], target: string, users?: SnapshotUsers): readonly Operation[] {
    if (layerDirs.length === 0) return [];
    // Without an upper directory overlayfs wants two lower ones. The mount point by itself holds nothing.
    const lower = [...layerDirs.toReversed(), ...(layerDirs.length === 1 ? [target] : [])];
    return [this.#overlay({ lower, options: "", target, flags: MS_RDONLY | MS_NODEV }, users)];
  }

  remove(containerId: string): readonly Operation[] {
    return [{ op: "rmtree", path: join(this.#containersDir, containerId) }];
  }

  #overlay({ lower, options, target, flags }: Layers, users: SnapshotUsers | undefined): Operation {
    const names = lower.map((path) => this.#short(path));
    const common = `${options}index=off,redirect_dir=off,metacopy=off`;
    const data = `lowerdir=${names.join(":")},${common}`;
    if (data.length > maxOptionBytes) {
      throw new DomainError("failedPrecondition", `image has too many layers: ${lower.length} do not fit one mount`);
    }
    const chdir = this.#layersDir;
    // Without an upper directory nobody can write to it in any case.
    if (users !== undefined) return { op: "mountOverlay", user: users.pin, target, lower: names, data: common, chdir };
    return { op: "mount", source: "overlay", target, type: "overlay", flags, data, chdir };
  }

  #short(path: string): string {
    return dirname(path) === this.#layersDir ? relative(this.#layersDir, path) : path;
  }
}

interface Layers {
  /** Top first. */
  readonly lower: readonly string[];
  /** Ends with a comma, or is empty. */
  readonly options: string;
  readonly target: string;
  readonly flags: number;
}

function toRootOf({ uid, gid }: SnapshotUsers, path: string): Operation {
  return { op: "chown", path, uid, gid };
}

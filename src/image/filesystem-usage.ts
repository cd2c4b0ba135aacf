/** What a part of a file system holds, as it was when it was measured. */
export interface FilesystemUsage {
  readonly timestamp: Temporal.Instant;
  readonly mountpoint: string;
  readonly usedBytes: number;
  readonly inodesUsed: number;
}

export interface Filesystems {
  readonly images: FilesystemUsage;
  readonly containers: FilesystemUsage;
}

/** Bytes and inodes on disk. */
export interface SpaceTaken {
  readonly bytes: number;
  readonly inodes: number;
}

/** Where images and writable layers lie. */
export interface ImagePlaces {
  readonly root: string;
  readonly layers: string;
  readonly containers: string;
  /** Both are on one file system. */
  readonly isOne: boolean;
}

/**
 * What ImageFsInfo tells. A kubelet takes two different entries for two disks that it has to watch apart: for one file
 * system there is one entry with all that is on it.
 */
export function filesystems(
  places: ImagePlaces,
  layers: SpaceTaken,
  written: SpaceTaken,
  now: Temporal.Instant,
): Filesystems {
  const entry = (mountpoint: string, ...parts: readonly SpaceTaken[]): FilesystemUsage => ({
    timestamp: now,
    mountpoint,
    usedBytes: parts.reduce((sum, { bytes }) => sum + bytes, 0),
    inodesUsed: parts.reduce((sum, { inodes }) => sum + inodes, 0),
  });
  if (!places.isOne) return { images: entry(places.layers, layers), containers: entry(places.containers, written) };
  const all = entry(places.root, layers, written);
  return { images: all, containers: all };
}

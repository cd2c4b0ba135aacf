import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeLayout } from "../images/layout.ts";
import { imageOf, layerOf, type RunConfig } from "../images/oci.ts";
import { pushLayout } from "../images/push.ts";
import { busyboxSystem } from "../images/rootfs.ts";
import type { LayerEntry } from "../images/tar.ts";

/** An image that a test needs besides busybox. */
export interface CustomImage {
  /** A full reference. */
  readonly reference: string;
  /** Laid over busybox, whose shell it can so be asked with. */
  readonly entries: readonly LayerEntry[];
  readonly config?: RunConfig & { readonly WorkingDir?: string; readonly Volumes?: Readonly<Record<string, object>> };
}

/** Builds images over busybox and pushes them to the registry at `address`. */
export async function pushCustomImages(images: readonly CustomImage[], address: string): Promise<void> {
  const base = layerOf(await busyboxSystem(), "oci", "gzip");
  const built = images.map(({ reference, entries, config = {} }) => {
    const own = layerOf(entries, "oci", "gzip");
    return { references: [reference], image: imageOf([base, own], config, { format: "oci", list: false }) };
  });
  const folder = await mkdtemp(join(tmpdir(), "nacelle-custom-"));
  try {
    await writeLayout(folder, built);
    await pushLayout(folder, address);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

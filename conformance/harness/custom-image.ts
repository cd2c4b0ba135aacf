import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { builtLayout, layoutBlob, layoutEntries } from "../images/layout.ts";
import {
  type BuiltImage,
  type Descriptor,
  descriptor,
  imageOf,
  type Layer,
  layerOf,
  ownArchitecture,
  type RunConfig,
} from "../images/oci.ts";
import { pushLayout } from "../images/push.ts";
import type { LayerEntry } from "../images/tar.ts";
import { busybox } from "./cri-configs.ts";

/** An image that a test needs besides busybox. */
export interface CustomImage {
  /** Below `registry.k8s.io`. */
  readonly reference: string;
  /** Laid over busybox, whose shell it can so be asked with. */
  readonly entries: readonly LayerEntry[];
  readonly config?: RunConfig & { readonly WorkingDir?: string; readonly Volumes?: Readonly<Record<string, object>> };
}

interface Parts {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** Builds images over busybox and pushes them to the registry at `address`. */
export async function pushCustomImages(images: readonly CustomImage[], address: string): Promise<void> {
  const base = await busyboxLayers();
  const built = images.map(({ reference, entries, config = {} }) => {
    const own = layerOf(entries, "oci", "gzip");
    return { reference, image: imageOf([...base, own], config, { format: "oci", list: false }) };
  });
  const folder = await mkdtemp(join(tmpdir(), "nacelle-custom-"));
  try {
    await writeLayout(folder, built);
    await pushLayout(folder, address);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The layers of the image that is built already, as they are. */
async function busyboxLayers(): Promise<readonly Layer[]> {
  const layout = await builtLayout();
  const read = async <T>(digest: string): Promise<T> => JSON.parse((await layoutBlob(layout, digest)).toString());
  const entry = (await layoutEntries(layout)).find(({ reference }) => reference === busybox);
  if (entry === undefined) throw new Error(`${layout} has no ${busybox}`);
  const { manifests } = await read<{ manifests: Descriptor[] }>(entry.root.digest);
  const own = manifests.find(({ platform }) => platform?.architecture === ownArchitecture);
  const parts = await read<Parts>(own?.digest ?? "");
  const { rootfs } = await read<{ rootfs: { diff_ids: string[] } }>(parts.config.digest);
  return await Promise.all(
    parts.layers.map(async ({ digest, mediaType }, index) => {
      const data = await layoutBlob(layout, digest);
      return { blob: { mediaType, digest, data }, diffId: rootfs.diff_ids[index] ?? "" };
    }),
  );
}

async function writeLayout(folder: string, images: readonly { reference: string; image: BuiltImage }[]): Promise<void> {
  const blobs = join(folder, "blobs/sha256");
  await mkdir(blobs, { recursive: true });
  for (const { digest, data } of images.flatMap(({ image }) => image.blobs)) {
    await writeFile(join(blobs, digest.replace("sha256:", "")), data);
  }
  const manifests = images.map(({ reference, image }) => ({
    ...descriptor(image.root),
    annotations: { "org.opencontainers.image.ref.name": reference },
  }));
  await writeFile(join(folder, "index.json"), JSON.stringify({ schemaVersion: 2, manifests }));
}

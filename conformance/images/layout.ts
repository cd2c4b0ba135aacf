import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Descriptor, descriptor } from "./oci.ts";
import { allImages, type NamedImage } from "./recipes.ts";

const referenceName = "org.opencontainers.image.ref.name";

/** A name in a layout and what it stands for. */
export interface LayoutEntry {
  readonly reference: string;
  readonly root: Descriptor;
}

/**
 * The OCI image layout with every image, under `build/images/`. It is built on first use and again when a recipe or
 * one of the programs that go into the images changed; two builders at once do no harm. NACELLE_IMAGE_LAYOUT names one
 * that was built elsewhere.
 */
export async function builtLayout(): Promise<string> {
  const given = process.env.NACELLE_IMAGE_LAYOUT;
  if (given !== undefined) return given;
  const parent = join(import.meta.dirname, "../../build/images");
  const folder = join(parent, await inputKey());
  if (await exists(join(folder, "index.json"))) return folder;
  await mkdir(parent, { recursive: true });
  const unfinished = await mkdtemp(join(parent, "unfinished-"));
  try {
    await writeLayout(unfinished, await allImages());
    await rename(unfinished, folder);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    if (!(await exists(join(folder, "index.json")))) throw error;
  }
  return folder;
}

/** Writes images as an OCI image layout; each reference is an entry of index.json, named by the annotation. */
export async function writeLayout(folder: string, images: readonly NamedImage[]): Promise<void> {
  const blobs = join(folder, "blobs/sha256");
  await mkdir(blobs, { recursive: true });
  for (const { digest, data } of new Set(images.flatMap(({ image }) => image.blobs))) {
    await writeFile(join(blobs, digest.slice("sha256:".length)), data);
  }
  const manifests = images.flatMap(({ references, image }) =>
    references.map((reference) => ({ ...descriptor(image.root), annotations: { [referenceName]: reference } })),
  );
  await writeFile(join(folder, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  await writeFile(join(folder, "index.json"), JSON.stringify({ schemaVersion: 2, manifests }, null, 2));
}

/** The named images of a layout, in the order of its index. */
export async function layoutEntries(folder: string): Promise<LayoutEntry[]> {
  const index: { manifests: Descriptor[] } = JSON.parse(await readFile(join(folder, "index.json"), "utf8"));
  return index.manifests.map((root) => ({ reference: root.annotations?.[referenceName] ?? root.digest, root }));
}

/** A blob of a layout, by digest. */
export async function layoutBlob(folder: string, digest: string): Promise<Buffer> {
  return await readFile(join(folder, "blobs", digest.replace(":", "/")));
}

/** Names the recipes and the machine's programs: what changes an image changes this. */
async function inputKey(): Promise<string> {
  const hash = createHash("sha256").update(process.arch);
  const sources = await readdir(import.meta.dirname, { recursive: true, withFileTypes: true });
  for (const source of sources.filter((entry) => entry.isFile() && !entry.name.endsWith(".test.ts"))) {
    hash.update(await readFile(join(source.parentPath, source.name)));
  }
  for (const path of ["/usr/bin/busybox", "/usr/sbin/nginx"]) {
    const { size, mtimeMs } = await stat(path);
    hash.update(`${path} ${size} ${mtimeMs}\n`);
  }
  return hash.digest("hex").slice(0, 16);
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

import { spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import { layoutBlob, layoutEntries } from "./layout.ts";
import { type Descriptor, ownArchitecture } from "./oci.ts";

/** Unpacks an image of a layout with the machine's own tar, for what needs a root file system and no image service. */
export async function unpackImage(layout: string, reference: string, into: string): Promise<void> {
  const entry = (await layoutEntries(layout)).find((candidate) => candidate.reference === reference);
  if (entry === undefined) throw new Error(`no image ${reference} in ${layout}`);
  await mkdir(into, { recursive: true });
  for (const layer of (await ownManifest(layout, entry.root)).layers) {
    const packed = await layoutBlob(layout, layer.digest);
    await extract(layer.mediaType.endsWith("zstd") ? zstdDecompressSync(packed) : gunzipSync(packed), into);
  }
}

async function ownManifest(layout: string, root: Descriptor): Promise<{ layers: Descriptor[] }> {
  const manifest: { layers?: Descriptor[]; manifests?: Descriptor[] } = await json(layout, root);
  if (manifest.layers !== undefined) return { layers: manifest.layers };
  const own = manifest.manifests?.find(({ platform }) => platform?.architecture === ownArchitecture);
  if (own === undefined) throw new Error(`${root.digest} has no manifest for ${ownArchitecture}`);
  return await ownManifest(layout, own);
}

async function json(layout: string, { digest }: Descriptor): Promise<object> {
  return JSON.parse((await layoutBlob(layout, digest)).toString());
}

async function extract(tar: Buffer, into: string): Promise<void> {
  const child = spawn("tar", ["--extract", "--same-permissions", "--numeric-owner", "--directory", into], {
    stdio: ["pipe", "ignore", "pipe"],
  });
  const exited = new Promise<number | null>((resolve, reject) => child.once("close", resolve).once("error", reject));
  const complaint = text(child.stderr);
  child.stdin.end(tar);
  const code = await exited;
  if (code !== 0) throw new Error(`tar ended with ${code}: ${await complaint}`);
}

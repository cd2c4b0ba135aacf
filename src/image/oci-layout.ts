import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { hasCode, invalidArgument, messageOf } from "../lib/errors.ts";
import type { ImageContent, ServedManifest } from "./image-content.ts";
import { isDigest } from "./reference.ts";
import { isObject, parseDocument } from "./registry/manifest.ts";

export interface LayoutEntry {
  readonly digest: string;
  /** Annotation org.opencontainers.image.ref.name, or the full name that some tools write beside it. */
  readonly referenceName: string | undefined;
}

const maxDocumentBytes = 4 * 1024 * 1024;

/** An OCI image layout: a directory with `index.json` and `blobs/sha256/…` (image-spec: image-layout.md). */
export class OciLayout {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** What the layout's index lists. Throws `invalidArgument` naming the file. */
  async entries(): Promise<readonly LayoutEntry[]> {
    const path = join(this.#directory, "index.json");
    const { manifests } = parseDocument(await read(path), path);
    if (!Array.isArray(manifests)) throw invalidArgument(`${path} lists no manifests`);
    return manifests.map((entry: unknown) => {
      const digest = isObject(entry) ? entry["digest"] : undefined;
      if (typeof digest !== "string" || !isDigest(digest))
        throw invalidArgument(`${path} has an entry without a digest`);
      const annotations = isObject(entry) && isObject(entry["annotations"]) ? entry["annotations"] : {};
      const name = annotations["io.containerd.image.name"] ?? annotations["org.opencontainers.image.ref.name"];
      return { digest, referenceName: typeof name === "string" ? name : undefined };
    });
  }

  /** Its contents, in which every tag names `digest`. */
  named(digest: string): ImageContent {
    return {
      manifest: async (tagOrDigest): Promise<ServedManifest> => {
        return { bytes: await read(this.#blob(isDigest(tagOrDigest) ? tagOrDigest : digest)), mediaType: "" };
      },
      blob: (blobDigest, size, signal) => readBlob(this.#blob(blobDigest), size, signal),
    };
  }

  #blob(digest: string): string {
    return join(this.#directory, "blobs", digest.replace(":", "/"));
  }
}

async function* readBlob(path: string, size: number, signal: AbortSignal): AsyncGenerator<Buffer, void, undefined> {
  let received = 0;
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 256 * 1024, signal })) {
      received += chunk.length;
      if (received > size) break;
      yield chunk;
    }
  } catch (error) {
    signal.throwIfAborted();
    throw invalidArgument(`cannot read ${path}: ${messageOf(error)}`);
  }
  if (received !== size) throw invalidArgument(`${path} does not have the ${size} bytes that the manifest says`);
}

async function read(path: string): Promise<Buffer> {
  try {
    await using file = await open(path, "r");
    const { size } = await file.stat();
    if (size > maxDocumentBytes) throw invalidArgument(`${path} is larger than ${maxDocumentBytes} bytes`);
    return await file.readFile();
  } catch (error) {
    if (hasCode(error, "ENOENT")) throw invalidArgument(`${path} does not exist: is this an OCI image layout?`);
    throw error;
  }
}

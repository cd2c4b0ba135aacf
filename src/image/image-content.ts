import { hash } from "node:crypto";
import { DomainError } from "../lib/errors.ts";
import { type ParsedConfig, parseImageConfig } from "./image-config.ts";
import type { Compression } from "./layer/layer-task.ts";
import { isDigest } from "./reference.ts";
import { choosePlatform, type Descriptor, type Manifest, type Platform, parseManifest } from "./registry/manifest.ts";

export interface ServedManifest {
  readonly bytes: Buffer;
  /** As the server says; may be empty. */
  readonly mediaType: string;
}

/** Something that has images: a repository of a registry, a directory. What it gives is not yet verified. */
export interface ImageContent {
  /** By tag or digest; at most 4 MiB. */
  manifest(tagOrDigest: string, signal: AbortSignal): Promise<ServedManifest>;
  /** Exactly `size` bytes, or an error. */
  blob(digest: string, size: number, signal: AbortSignal): AsyncIterable<Buffer>;
}

/** A layer, as the manifest and the configuration together describe it. */
export interface LayerDescriptor extends Descriptor {
  readonly diffId: string;
  readonly compression: Compression;
}

/** Everything about an image but its files; all of it verified. */
export interface ResolvedImage {
  /** Of the configuration: the image's id. */
  readonly id: string;
  /** Of what the tag or digest named: an index or a manifest. */
  readonly digest: string;
  readonly configBytes: number;
  readonly parsed: ParsedConfig;
  /** Bottom first. */
  readonly layers: readonly LayerDescriptor[];
}

const maxConfigBytes = 8 * 1024 * 1024;
const maxIndexDepth = 3;

const compressions: Readonly<Record<string, Compression>> = {
  "application/vnd.oci.image.layer.v1.tar": "none",
  "application/vnd.oci.image.layer.v1.tar+gzip": "gzip",
  "application/vnd.oci.image.layer.v1.tar+zstd": "zstd",
  "application/vnd.docker.image.rootfs.diff.tar": "none",
  "application/vnd.docker.image.rootfs.diff.tar.gzip": "gzip",
  "application/vnd.docker.image.rootfs.diff.tar.zstd": "zstd",
};

/**
 * Follows `tagOrDigest` to the image for `platform` and its configuration, verifying every document. Throws
 * `invalidArgument` for what is damaged, ambiguous or of an unknown kind.
 */
export async function resolveImage(
  content: ImageContent,
  tagOrDigest: string,
  platform: Platform,
  signal: AbortSignal,
): Promise<ResolvedImage> {
  const top = await content.manifest(tagOrDigest, signal);
  const digest = digestOf(top.bytes);
  if (isDigest(tagOrDigest) && digest !== tagOrDigest) throw mismatch("manifest", tagOrDigest, digest);
  const image = await descend(content, parseManifest(top.bytes, top.mediaType), platform, signal);
  const { config } = image;
  if (config.size > maxConfigBytes)
    throw invalid(`configuration of ${config.size} bytes is larger than ${maxConfigBytes}`);
  const configBytes = await collect(content, config, signal);
  const parsed = parseImageConfig(configBytes);
  const { os } = parsed.platform;
  if (os !== "linux") throw invalid(`image is for ${JSON.stringify(os)}, not for linux`);
  const { diffIds } = parsed;
  if (diffIds.length !== image.layers.length) {
    throw invalid(`manifest has ${image.layers.length} layers, but the configuration ${diffIds.length} diff_ids`);
  }
  const layers = image.layers.map((layer, index) => layerOf(layer, diffIds[index] ?? ""));
  return { id: config.digest, digest, configBytes: configBytes.length, parsed, layers };
}

async function descend(
  content: ImageContent,
  manifest: Manifest,
  platform: Platform,
  signal: AbortSignal,
): Promise<Extract<Manifest, { kind: "image" }>> {
  let current = manifest;
  for (let depth = 0; current.kind === "index"; depth++) {
    if (depth === maxIndexDepth) throw invalid(`indexes are nested deeper than ${maxIndexDepth}`);
    const entry = choosePlatform(current.manifests, platform);
    const { bytes } = await content.manifest(entry.digest, signal);
    const actual = digestOf(bytes);
    if (actual !== entry.digest || bytes.length !== entry.size) throw mismatch("manifest", entry.digest, actual);
    current = parseManifest(bytes, entry.mediaType);
  }
  return current;
}

function layerOf(layer: Descriptor, diffId: string): LayerDescriptor {
  const compression = compressions[layer.mediaType];
  if (compression !== undefined) return { ...layer, diffId, compression };
  const type = JSON.stringify(layer.mediaType.slice(0, 100));
  if (/nondistributable|foreign/.test(layer.mediaType)) {
    throw invalid(
      `layer of type ${type} is kept outside registries, which is not supported: push the image with all layers`,
    );
  }
  if (/encrypted/.test(layer.mediaType)) throw invalid(`layer of type ${type} is encrypted, which is not supported`);
  throw invalid(`layer has the unknown type ${type}; tar, tar+gzip and tar+zstd are supported`);
}

async function collect(content: ImageContent, { digest, size }: Descriptor, signal: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of content.blob(digest, size, signal)) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  const actual = digestOf(bytes);
  if (actual !== digest || bytes.length !== size) throw mismatch("configuration", digest, actual);
  return bytes;
}

/** For documents of a few kilobytes; layers are hashed in a worker. */
function digestOf(bytes: Buffer): string {
  return `sha256:${hash("sha256", bytes)}`;
}

export function mismatch(what: string, expected: string, actual: string): DomainError {
  return invalid(`${what} ${expected} has the digest ${actual}: it was damaged or replaced on its way`);
}

function invalid(message: string): DomainError {
  return new DomainError("invalidArgument", message);
}

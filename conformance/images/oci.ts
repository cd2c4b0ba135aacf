import { createHash } from "node:crypto";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { type LayerEntry, tarOf } from "./tar.ts";

/** What a registry or an image layout keeps: bytes under their digest. */
export interface Blob {
  readonly mediaType: string;
  readonly digest: string;
  readonly data: Buffer;
}

/** How an index or a manifest refers to a blob. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: { readonly os: string; readonly architecture: string };
  readonly annotations?: Readonly<Record<string, string>>;
}

/** The `config` object of an image configuration, as far as the images here use it. */
export interface RunConfig {
  readonly User?: string;
  readonly Env?: readonly string[];
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
}

/** A layer in one of the three forms that registries serve. */
export interface Layer {
  readonly blob: Blob;
  readonly diffId: string;
}

/** `oci` and `docker` name the media types; `list` wraps the manifest in an index with foreign platforms beside it. */
export interface ImageShape {
  readonly format: "oci" | "docker";
  readonly list: boolean;
}

/** An image ready to be stored: `root` is what its name stands for, `blobs` is everything below, manifests last. */
export interface BuiltImage {
  readonly root: Blob;
  readonly blobs: readonly Blob[];
}

const mediaTypes = {
  oci: {
    config: "application/vnd.oci.image.config.v1+json",
    manifest: "application/vnd.oci.image.manifest.v1+json",
    index: "application/vnd.oci.image.index.v1+json",
    gzip: "application/vnd.oci.image.layer.v1.tar+gzip",
    zstd: "application/vnd.oci.image.layer.v1.tar+zstd",
  },
  docker: {
    config: "application/vnd.docker.container.image.v1+json",
    manifest: "application/vnd.docker.distribution.manifest.v2+json",
    index: "application/vnd.docker.distribution.manifest.list.v2+json",
    gzip: "application/vnd.docker.image.rootfs.diff.tar.gzip",
    zstd: undefined,
  },
} as const;

/** Node's name of this machine's architecture in the words of images. */
export const ownArchitecture = process.arch === "x64" ? "amd64" : process.arch;

function blob(mediaType: string, data: Buffer): Blob {
  return { mediaType, data, digest: sha256(data) };
}

function sha256(data: Buffer): string {
  return `sha256:${createHash("sha256").update(data).digest("hex")}`;
}

/** Packs entries as a layer. Of entries with the same path the first counts. */
export function layerOf(entries: readonly LayerEntry[], format: ImageShape["format"], codec: "gzip" | "zstd"): Layer {
  const seen = new Set<string>();
  const tar = tarOf(entries.filter(({ path }) => !seen.has(path) && seen.add(path)));
  const mediaType = mediaTypes[format][codec];
  if (mediaType === undefined) throw new RangeError(`a ${format} layer cannot be ${codec}`);
  const data = codec === "gzip" ? gzipSync(tar, { level: 6 }) : zstdCompressSync(tar);
  return { blob: blob(mediaType, data), diffId: sha256(tar) };
}

/** Assembles configuration, manifest and, for a list, the index. */
export function imageOf(layers: readonly Layer[], config: RunConfig, shape: ImageShape): BuiltImage {
  const own = singleImage(layers, config, shape.format, ownArchitecture);
  if (!shape.list) return own;
  // Foreign platforms first: taking the first entry instead of choosing gives an image that cannot run.
  const foreign = ["s390x", "ppc64le"].map((name) => singleImage(layers.slice(0, 1), config, shape.format, name));
  const index = blob(
    mediaTypes[shape.format].index,
    json({
      schemaVersion: 2,
      mediaType: mediaTypes[shape.format].index,
      manifests: [...foreign, own].map(({ root, architecture }) => ({
        ...descriptor(root),
        platform: { os: "linux", architecture },
      })),
    }),
  );
  return { root: index, blobs: [...foreign.flatMap((image) => image.blobs), ...own.blobs, index] };
}

function singleImage(
  layers: readonly Layer[],
  config: RunConfig,
  format: ImageShape["format"],
  architecture: string,
): BuiltImage & { architecture: string } {
  const types = mediaTypes[format];
  const configBlob = blob(
    types.config,
    json({
      created: "2023-11-14T22:13:20Z",
      architecture,
      os: "linux",
      config: { Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], ...config },
      rootfs: { type: "layers", diff_ids: layers.map((layer) => layer.diffId) },
    }),
  );
  const manifest = blob(
    types.manifest,
    json({
      schemaVersion: 2,
      mediaType: types.manifest,
      config: descriptor(configBlob),
      layers: layers.map((layer) => descriptor(layer.blob)),
    }),
  );
  return { architecture, root: manifest, blobs: [...layers.map((layer) => layer.blob), configBlob, manifest] };
}

/** The descriptor that refers to a blob. */
export function descriptor({ mediaType, digest, data }: Blob): Descriptor {
  return { mediaType, digest, size: data.length };
}

function json(value: object): Buffer {
  return Buffer.from(JSON.stringify(value));
}

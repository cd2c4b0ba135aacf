import { DomainError } from "../../lib/errors.ts";
import { isDigest } from "../reference.ts";

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  /** Empty when there is none. */
  readonly variant: string;
}

export interface IndexEntry extends Descriptor {
  readonly platform: Platform | undefined;
}

export type Manifest =
  | { readonly kind: "index"; readonly manifests: readonly IndexEntry[] }
  | { readonly kind: "image"; readonly config: Descriptor; readonly layers: readonly Descriptor[] };

const indexTypes = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
];
const imageTypes = [
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
];
const configTypes = ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/** What is asked of a registry. */
export const manifestTypes: readonly string[] = [...imageTypes, ...indexTypes];

const maxLayers = 127;
const maxIndexEntries = 1000;
/** No blob is larger; also keeps sums of sizes exact. */
const maxBlobBytes = 2 ** 40;

/**
 * Reads a manifest or index. `mediaType` is what the registry or the parent said it is; empty: nobody did. Throws
 * `invalidArgument`, also for a document that is both, since two programs could read two images out of it.
 */
export function parseManifest(bytes: Buffer, mediaType: string): Manifest {
  const document = parseDocument(bytes, "manifest");
  const declared = document["mediaType"];
  const type = mediaType.split(";", 1)[0]?.trim() ?? "";
  if (typeof declared === "string" && manifestTypes.includes(type) && declared !== type) {
    throw invalid(`manifest declares itself ${quote(declared)} but was served as ${quote(type)}`);
  }
  if (document["schemaVersion"] === 1) {
    throw invalid("manifest is of Docker schema 1, which is not supported: push the image again with a current tool");
  }
  const isIndex = "manifests" in document;
  const isImage = "config" in document || "layers" in document;
  if (isIndex && isImage) throw invalid("manifest is an image and an index at once");
  if (isIndex && imageTypes.includes(type)) throw invalid("index was served as an image manifest");
  if (isImage && indexTypes.includes(type)) throw invalid("image manifest was served as an index");
  if (isIndex)
    return { kind: "index", manifests: listOf(document["manifests"], maxIndexEntries, "manifests").map(entryOf) };
  if (!isImage) throw invalid(`manifest of type ${quote(type)} is neither an image nor an index`);
  const config = descriptorOf(document["config"], "config");
  if (!configTypes.includes(config.mediaType)) {
    throw invalid(`manifest is of an artifact of type ${quote(config.mediaType)}, not of a container image`);
  }
  const layers = listOf(document["layers"] ?? [], maxLayers, "layers");
  return { kind: "image", config, layers: layers.map((layer, index) => descriptorOf(layer, `layers[${index}]`)) };
}

/**
 * The entry for `platform`: the same variant first, then one without, then any that runs here. Throws `notFound`
 * that lists what there is.
 */
export function choosePlatform(entries: readonly IndexEntry[], platform: Platform): IndexEntry {
  const ranked = entries
    .map((entry) => ({ entry, rank: rankOf(entry, platform) }))
    .filter(({ rank }) => rank >= 0)
    .sort((a, b) => b.rank - a.rank);
  const [best] = ranked;
  if (best !== undefined) return best.entry;
  const offered = [...new Set(entries.map((entry) => describePlatform(entry.platform)))].join(", ");
  throw new DomainError(
    "notFound",
    `image has no manifest for ${describePlatform(platform)}; it has ${offered === "" ? "none" : offered}`,
  );
}

/** Of this machine. */
export function hostPlatform(arch: string = process.arch): Platform {
  if (arch === "x64") return { os: "linux", architecture: "amd64", variant: "" };
  if (arch === "arm64") return { os: "linux", architecture: "arm64", variant: "v8" };
  return { os: "linux", architecture: arch, variant: "" };
}

function rankOf({ platform, mediaType }: IndexEntry, wanted: Platform): number {
  if (!manifestTypes.includes(mediaType)) return -1;
  // An entry that says nothing may be anything: taken when nothing better is there.
  if (platform === undefined) return 0;
  if (platform.os !== wanted.os || platform.architecture !== wanted.architecture) return -1;
  if (platform.variant === wanted.variant) return 3;
  if (platform.variant === "" || (wanted.variant === "" && platform.variant === "v1")) return 2;
  return wanted.variant === "" ? -1 : 1;
}

function describePlatform(platform: Platform | undefined): string {
  if (platform === undefined) return "an unnamed platform";
  const { os, architecture, variant } = platform;
  return variant === "" ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}

function entryOf(value: unknown, index: number): IndexEntry {
  const entry = descriptorOf(value, `manifests[${index}]`);
  const platform = isObject(value) ? value["platform"] : undefined;
  if (!isObject(platform)) return { ...entry, platform: undefined };
  const text = (key: string) => {
    const found = platform[key];
    return typeof found === "string" ? found : "";
  };
  return { ...entry, platform: { os: text("os"), architecture: text("architecture"), variant: text("variant") } };
}

function descriptorOf(value: unknown, where: string): Descriptor {
  if (!isObject(value)) throw invalid(`manifest has no ${where}`);
  const { mediaType, digest, size } = value;
  if (typeof mediaType !== "string" || mediaType === "") throw invalid(`${where} has no mediaType`);
  if (typeof digest !== "string" || !isDigest(digest)) throw invalid(`${where} has no valid sha256 digest`);
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0 || size > maxBlobBytes) {
    throw invalid(`${where} has no valid size`);
  }
  return { mediaType, digest, size };
}

function listOf(value: unknown, max: number, where: string): readonly unknown[] {
  if (!Array.isArray(value)) throw invalid(`${where} of the manifest is not a list`);
  if (value.length > max) throw invalid(`manifest has ${value.length} ${where}, more than ${max}`);
  return value;
}

/** Parses bounded JSON of a registry. Throws `invalidArgument` naming `what`. */
export function parseDocument(bytes: Buffer, what: string): Readonly<Record<string, unknown>> {
  let document: unknown;
  try {
    document = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw invalid(`${what} is not JSON`);
  }
  if (!isObject(document)) throw invalid(`${what} is not a JSON object`);
  return document;
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function invalid(message: string): DomainError {
  return new DomainError("invalidArgument", message);
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}

import { invalidArgument } from "../lib/errors.ts";
import { type ImageConfig, userOf } from "./image-config.ts";
import { nameOf, parseReference, type Reference } from "./reference.ts";

/** What never changes of an image. The row's id is "sha256:…", the digest of its configuration. */
export interface ImageRow {
  readonly config: ImageConfig;
  /** Digests of its compressed layers, bottom first. */
  readonly layers: readonly string[];
  readonly sizeBytes: number;
}

/** By which names it is known. */
export interface ImageState {
  /** "domain/path:tag", sorted. */
  readonly tags: readonly string[];
  /** "domain/path@sha256:…", sorted. */
  readonly digests: readonly string[];
  /** It was removed while containers used it: nobody finds it, and its layers go with the last of them. */
  readonly removed: boolean;
}

export interface Image {
  /** "sha256:" and 64 hex digits: the digest of the image's config. */
  readonly id: string;
  /** Sorted; normalised, e.g. "docker.io/library/busybox:latest". */
  readonly repoTags: readonly string[];
  /** Sorted. */
  readonly repoDigests: readonly string[];
  readonly sizeBytes: number;
  /** From the config's User, when numeric. */
  readonly uid: number | undefined;
  readonly username: string;
  readonly pinned: boolean;
}

export interface StoredImage {
  readonly id: string;
  readonly fixed: ImageRow;
  readonly state: ImageState;
}

/** What clients see of an image; the same however it was asked for. */
export function toImage({ id, fixed, state }: StoredImage): Image {
  const { uid, username } = userOf(fixed.config.user);
  const { tags, digests } = state;
  return { id, repoTags: tags, repoDigests: digests, sizeBytes: fixed.sizeBytes, uid, username, pinned: false };
}

/** `state` with the names that a pull of `reference` gives; `digest` is what the registry's answer had. */
export function named(state: ImageState | undefined, reference: Reference, digest: string): ImageState {
  // A removed image that is pulled again is a new one.
  const { tags, digests } = state === undefined || state.removed ? { tags: [], digests: [] } : state;
  const name = nameOf(reference);
  const tag = reference.digest === undefined ? [`${name}:${reference.tag}`] : [];
  return { tags: sorted([...tags, ...tag]), digests: sorted([...digests, `${name}@${digest}`]), removed: false };
}

/** `state` without a tag that another image has taken. */
export function untagged(state: ImageState, tag: string): ImageState {
  return { ...state, tags: state.tags.filter((other) => other !== tag) };
}

/** Whether `state` has the name: by digest if `reference` has one, else by tag. */
function isNamed(state: ImageState, reference: Reference): boolean {
  const name = nameOf(reference);
  if (reference.digest !== undefined) return state.digests.includes(`${name}@${reference.digest}`);
  return state.tags.includes(`${name}:${reference.tag}`);
}

/**
 * The references that `text` may stand for, in order: itself, or, for a short name where the operator has set
 * search registries, that name in each of them.
 */
export function candidates(text: string, searchRegistries: readonly string[] | undefined): readonly Reference[] {
  const first = text.slice(0, text.indexOf("/"));
  const isShort = !text.includes("/") || !(/[.:]/.test(first) || first === "localhost" || /[A-Z]/.test(first));
  if (!isShort || searchRegistries === undefined || searchRegistries.length === 0) return [parseReference(text)];
  return searchRegistries.map((registry) => parseReference(`${registry}/${text}`));
}

/**
 * The image that `text` names: by tag, digest, id or unique id prefix. Names first: "cafe" is a name as well as the
 * beginning of an id. Throws `invalidArgument` when malformed or ambiguous.
 */
export function findImage(
  images: readonly StoredImage[],
  text: string,
  searchRegistries: readonly string[] | undefined,
): StoredImage | undefined {
  const prefix = /^(?:sha256:)?([0-9a-f]{1,64})$/.exec(text)?.[1];
  if (prefix === undefined || !text.startsWith("sha256:")) {
    const references = candidates(text, searchRegistries);
    const found = references.map((reference) => images.find(({ state }) => isNamed(state, reference)));
    const [image] = found.filter((each) => each !== undefined);
    if (image !== undefined || prefix === undefined) return image;
  }
  const matches = images.filter(({ id }) => id.startsWith(`sha256:${prefix}`));
  if (matches.length > 1)
    throw invalidArgument(`image id ${text} is ambiguous: ${matches.length} images begin with it`);
  return matches[0];
}

function sorted(names: readonly string[]): readonly string[] {
  return [...new Set(names)].sort((a, b) => (a < b ? -1 : 1));
}

import { DomainError, messageOf } from "../lib/errors.ts";
import { type ImageContent, type LayerDescriptor, type ResolvedImage, resolveImage } from "./image-content.ts";
import type { LayerStore } from "./layer-store.ts";
import { nameOf, type Reference } from "./reference.ts";
import type { Credentials } from "./registry/auth-file.ts";
import { type AuthConfig, findCredentials, isDockerHub, normaliseKey, toCredentials } from "./registry/auth-file.ts";
import type { RegistryFiles } from "./registry/config-files.ts";
import type { HttpClient } from "./registry/http.ts";
import { hostPlatform } from "./registry/manifest.ts";
import { type Source, sourcesOf } from "./registry/registries-conf.ts";
import { Repository } from "./registry/repository.ts";

/** The repositories that `reference` may be fetched from, each with the credentials for its own host only. */
export function repositoriesFor(
  http: HttpClient,
  files: RegistryFiles,
  reference: Reference,
  auth: AuthConfig | undefined,
): readonly Repository[] {
  const given = auth === undefined ? undefined : toCredentials(auth, "credentials of the request");
  return sourcesOf(files.conf, reference).map((source) => {
    const own = given !== undefined && isMeantFor(auth, reference, source) ? given : undefined;
    return new Repository(http, source, own ?? credentialsFor(files, source));
  });
}

/** Without a server address, credentials are for the registry that the request names, not for its mirrors. */
function isMeantFor(auth: AuthConfig | undefined, reference: Reference, source: Source): boolean {
  const address = auth?.serverAddress ?? "";
  const host = address === "" ? reference.domain : (normaliseKey(address).split("/", 1)[0] ?? "");
  return host === source.host || (isDockerHub(host) && isDockerHub(source.host));
}

function credentialsFor({ auth }: RegistryFiles, { host, path }: Source): Credentials | undefined {
  return findCredentials(auth, isDockerHub(host) ? "docker.io" : host, path);
}

/**
 * Resolves the image from the first of `contents` that has it. Throws the last one's error: the registry itself comes
 * after its mirrors; what the mirrors said is added.
 */
export async function resolveFirst<Content extends ImageContent>(
  contents: readonly Content[],
  reference: Reference,
  signal: AbortSignal,
): Promise<{ readonly image: ResolvedImage; readonly contents: readonly Content[] }> {
  const failures: unknown[] = [];
  for (const [index, content] of contents.entries()) {
    try {
      const image = await resolveImage(content, reference.digest ?? reference.tag ?? "latest", hostPlatform(), signal);
      // The one that has the image is asked for its layers first.
      return { image, contents: [content, ...contents.toSpliced(index, 1)] };
    } catch (error) {
      signal.throwIfAborted();
      failures.push(error);
    }
  }
  const last = failures.at(-1);
  const others = failures.slice(0, -1).map(messageOf);
  if (!(last instanceof DomainError)) throw last;
  const before = others.length === 0 ? "" : `; before that: ${others.join("; ")}`;
  throw new DomainError(last.kind, `${last.message} (pulling ${nameOf(reference)})${before}`, { cause: last });
}

/** Makes all layers present, in parallel, and resolves with the holds on them. On failure no hold is left. */
export async function ensureLayers(
  layers: LayerStore,
  image: ResolvedImage,
  contents: readonly ImageContent[],
  signal: AbortSignal,
): Promise<DisposableStack> {
  using holds = new DisposableStack();
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const outcomes = await Promise.allSettled(
    image.layers.map(async (layer) => {
      try {
        holds.use(await ensureLayer(layers, layer, contents, either));
      } catch (error) {
        stop.abort(error); // one that cannot be had makes the others useless
        throw error;
      }
    }),
  );
  signal.throwIfAborted();
  if (outcomes.some(({ status }) => status === "rejected")) throw stop.signal.reason;
  return holds.move();
}

async function ensureLayer(
  layers: LayerStore,
  layer: LayerDescriptor,
  contents: readonly ImageContent[],
  signal: AbortSignal,
): Promise<Disposable> {
  let failure: unknown;
  for (const content of contents) {
    try {
      return await layers.ensure(layer, (shared) => content.blob(layer.digest, layer.size, shared), signal);
    } catch (error) {
      signal.throwIfAborted();
      failure ??= error;
    }
  }
  throw failure;
}

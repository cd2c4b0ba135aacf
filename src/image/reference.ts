import { invalidArgument } from "../lib/errors.ts";

/** A normalised image reference. */
export interface Reference {
  /** Host and port as written; "docker.io" when there was none. */
  readonly domain: string;
  /** Below the domain; "library/busybox" for "busybox". */
  readonly path: string;
  /** "latest" unless there is a tag or a digest. */
  readonly tag: string | undefined;
  /** "sha256:…" */
  readonly digest: string | undefined;
}

const maxReferenceBytes = 1024;
/** distribution-spec: "name" has at most 255 characters, with the domain. */
const maxNameBytes = 255;

const domainPattern =
  /^(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?$/;
const pathPattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const digestPattern = /^sha256:[0-9a-f]{64}$/;

export function isDigest(text: string): boolean {
  return digestPattern.test(text);
}

/**
 * Parses "name", "name:tag", "name@digest" or "name:tag@digest", with or without a domain. Throws `invalidArgument`
 * that says which part is wrong.
 */
export function parseReference(text: string): Reference {
  const quoted = JSON.stringify(text.slice(0, 200));
  const fail = (why: string) => invalidArgument(`image reference ${quoted} ${why}`);
  if (text === "") throw invalidArgument("image reference is empty");
  if (text.length > maxReferenceBytes) throw fail(`is longer than ${maxReferenceBytes} characters`);
  const at = text.indexOf("@");
  const digest = at < 0 ? undefined : text.slice(at + 1);
  const rest = at < 0 ? text : text.slice(0, at);
  if (digest !== undefined && !isDigest(digest)) {
    throw fail(`has the digest ${JSON.stringify(digest.slice(0, 100))}, not "sha256:" and 64 lower-case hex digits`);
  }
  const colon = rest.indexOf(":", rest.lastIndexOf("/") + 1);
  const tag = colon < 0 ? undefined : rest.slice(colon + 1);
  const name = colon < 0 ? rest : rest.slice(0, colon);
  if (tag !== undefined && !tagPattern.test(tag)) throw fail(`has an invalid tag ${JSON.stringify(tag.slice(0, 150))}`);
  const [given, remainder] = splitDomain(name);
  const domain = given === undefined || given === "index.docker.io" ? "docker.io" : given;
  const path =
    domain === "docker.io" && remainder !== "" && !remainder.includes("/") ? `library/${remainder}` : remainder;
  if (!domainPattern.test(domain)) throw fail(`has an invalid host ${JSON.stringify(domain)}`);
  if (path !== path.toLowerCase()) throw fail("has upper-case letters in its repository name");
  if (!pathPattern.test(path)) throw fail("has an invalid repository name");
  if (domain.length + 1 + path.length > maxNameBytes) throw fail(`has a name longer than ${maxNameBytes} characters`);
  return { domain, path, tag: tag ?? (digest === undefined ? "latest" : undefined), digest };
}

/** "domain/path" */
export function nameOf({ domain, path }: Reference): string {
  return `${domain}/${path}`;
}

/** The whole reference, normalised. A digest says more than a tag, which is left out beside it. */
export function formatReference(reference: Reference): string {
  const { tag, digest } = reference;
  return digest === undefined ? `${nameOf(reference)}:${tag}` : `${nameOf(reference)}@${digest}`;
}

/** The first part is a domain when it could not be a path: it has a dot, a port, upper case, or is "localhost". */
function splitDomain(name: string): readonly [string | undefined, string] {
  const slash = name.indexOf("/");
  if (slash < 0) return [undefined, name];
  const first = name.slice(0, slash);
  const isDomain = /[.:]/.test(first) || first === "localhost" || first !== first.toLowerCase();
  return isDomain ? [first, name.slice(slash + 1)] : [undefined, name];
}

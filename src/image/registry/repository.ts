import type { IncomingMessage } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { DomainError, messageOf } from "../../lib/errors.ts";
import type { ImageContent, ServedManifest } from "../image-content.ts";
import type { Credentials } from "./auth-file.ts";
import { Authenticator } from "./authenticator.ts";
import { type HttpClient, HttpError, readBody, toHttpError } from "./http.ts";
import { isObject, manifestTypes } from "./manifest.ts";
import type { Source } from "./registries-conf.ts";

const maxManifestBytes = 4 * 1024 * 1024;
const maxErrorBytes = 16 * 1024;
const maxRedirects = 5;
/** Of one request: busy answers and lost connections alike. */
const maxAttempts = 5;
const maxPauseMs = 30_000;

/** Servers of names that are not hosts. */
const servedBy: Readonly<Record<string, string>> = { "docker.io": "registry-1.docker.io" };

/** One repository of one registry (distribution-spec, pull). Verifies sizes; digests are the caller's. */
export class Repository implements ImageContent {
  readonly #http: HttpClient;
  readonly #source: Source;
  readonly #auth: Authenticator;
  #scheme: "https" | "http";
  #isSchemeKnown: boolean;

  constructor(http: HttpClient, source: Source, credentials: Credentials | undefined) {
    this.#http = http;
    const insecure = source.insecure || isLoopback(source.host);
    this.#source = { ...source, insecure };
    this.#scheme = "https";
    this.#isSchemeKnown = !insecure;
    const { host, path } = source;
    this.#auth = new Authenticator({ http, host, scope: `repository:${path}:pull`, credentials, insecure });
  }

  /** By tag or digest. Throws `notFound`, `failedPrecondition` (refused), `unavailable` (RegistryUnavailable). */
  async manifest(tagOrDigest: string, signal: AbortSignal): Promise<ServedManifest> {
    const accept = manifestTypes.join(", ");
    for (let attempt = 1; ; attempt++) {
      try {
        const response = await this.#get(`manifests/${tagOrDigest}`, { accept }, signal);
        const bytes = await readBody(response, maxManifestBytes);
        if (bytes !== undefined) return { bytes, mediaType: response.headers["content-type"] ?? "" };
      } catch (error) {
        const isLost = error instanceof HttpError && error.code === "ECONNRESET";
        if (!isLost || attempt === maxAttempts) throw this.#explained(error, signal);
        continue;
      }
      throw new DomainError("invalidArgument", `manifest ${tagOrDigest} is larger than ${maxManifestBytes} bytes`);
    }
  }

  /**
   * The bytes of a blob. Ends after exactly `size` bytes, or throws; goes on where a lost connection left off. Its
   * connection is given up when the iteration is.
   */
  async *blob(digest: string, size: number, signal: AbortSignal): AsyncGenerator<Buffer, void, undefined> {
    let received = 0;
    for (let failures = 0; received < size || size === 0; ) {
      const before = received;
      try {
        const headers: Record<string, string> = received > 0 ? { range: `bytes=${received}-` } : {};
        const response = await this.#get(`blobs/${digest}`, headers, signal);
        let skip = response.statusCode === 206 ? 0 : received; // a registry may ignore Range
        for await (const chunk of response) {
          const bytes: Buffer = chunk.subarray(Math.min(skip, chunk.length));
          skip -= chunk.length - bytes.length;
          received += bytes.length;
          if (received > size) throw new DomainError("invalidArgument", `blob ${digest} is longer than ${size} bytes`);
          if (bytes.length > 0) yield bytes;
        }
        if (size === 0) return;
        if (received < size) throw new HttpError("the answer ended early", "ECONNRESET");
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof DomainError) throw error;
        failures = received > before ? 1 : failures + 1;
        if (failures === maxAttempts) throw this.#explained(toHttpError(error), signal);
        await sleep(100 * 2 ** failures, undefined, { signal });
      }
    }
  }

  /** A response with status 200 or 206. */
  async #get(path: string, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<IncomingMessage> {
    let challenged = 0;
    for (let attempt = 1; ; attempt++) {
      const authorization = this.#auth.header;
      const sent = authorization === undefined ? headers : { ...headers, authorization };
      const response = await this.#reach(path, sent, signal);
      const status = response.statusCode ?? 0;
      if (status === 200 || status === 206) return response;
      if (status === 401 && challenged < 2) {
        response.resume();
        challenged += 1;
        await this.#auth.renew(String(response.headers["www-authenticate"] ?? ""), authorization, signal);
        continue;
      }
      const refusal = await this.#refusal(response, path);
      if ((status !== 429 && status < 500) || attempt >= maxAttempts) throw refusal;
      await sleep(pauseMs(response, attempt), undefined, { signal });
    }
  }

  /** Connects, by plain HTTP where that is allowed and HTTPS does not answer, and follows redirects. */
  async #reach(path: string, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<IncomingMessage> {
    if (this.#isSchemeKnown) return this.#follow(path, headers, signal);
    try {
      const response = await this.#follow(path, headers, signal);
      this.#isSchemeKnown = true;
      return response;
    } catch (error) {
      if (!(error instanceof HttpError)) throw error;
      this.#scheme = this.#scheme === "https" ? "http" : "https";
      const response = await this.#follow(path, headers, signal);
      this.#isSchemeKnown = true;
      return response;
    }
  }

  async #follow(
    path: string,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const { host, path: repository, insecure } = this.#source;
    const origin = new URL(`${this.#scheme}://${servedBy[host] ?? host}`);
    let url = new URL(`/v2/${repository}/${path}`, origin);
    for (let redirects = 0; ; redirects++) {
      // Credentials belong to one host; a store that the registry points to brings its own in the URL.
      const { authorization: _, ...others } = headers;
      const sent = url.origin === origin.origin ? headers : others;
      const response = await this.#http.send({ url, headers: sent, insecure }, signal);
      const location = response.headers.location;
      if (![301, 302, 303, 307, 308].includes(response.statusCode ?? 0) || location === undefined) return response;
      response.resume();
      if (redirects === maxRedirects) throw new HttpError("too many redirects", "");
      if (!URL.canParse(location, url)) throw new HttpError("redirected to something that is no URL", "");
      url = new URL(location, url);
      if (url.protocol !== "https:" && !(insecure && url.protocol === "http:")) {
        throw new HttpError(`redirected to ${url.host} without TLS`, "");
      }
    }
  }

  async #refusal(response: IncomingMessage, path: string): Promise<DomainError> {
    const { host, path: repository } = this.#source;
    const status = response.statusCode ?? 0;
    const body = (await readBody(response, maxErrorBytes)) ?? Buffer.alloc(0);
    const said = messageIn(body);
    const text = `${status}${said === "" ? "" : ` (${said})`}`;
    const what = `${repository} ${path}`;
    if (status === 404) return new DomainError("notFound", `registry ${host} has no ${what}: ${text}`);
    if (status === 429 || status >= 500) {
      const remedy = "it is overloaded or limits this client: try again later, give credentials, or set up a mirror";
      return new DomainError(
        "unavailable",
        `RegistryUnavailable: registry ${host} answered ${text} for ${what}: ${remedy}`,
      );
    }
    const remedy = status === 401 || status === 403 ? ": check the credentials for this host" : "";
    return new DomainError("failedPrecondition", `registry ${host} refuses ${what}: ${text}${remedy}`);
  }

  #explained(error: unknown, signal: AbortSignal): unknown {
    signal.throwIfAborted();
    if (!(error instanceof HttpError)) return error;
    const { host } = this.#source;
    const message = `RegistryUnavailable: cannot reach registry ${host}: ${messageOf(error)}; ${remedyFor(error.code)}`;
    return new DomainError("unavailable", message, { cause: error });
  }
}

/** A registry on this machine is reached without leaving it: TLS is not demanded. */
function isLoopback(host: string): boolean {
  const name = host.replace(/:[0-9]+$/, "");
  return name === "localhost" || name === "[::1]" || /^127(?:\.[0-9]{1,3}){3}$/.test(name);
}

function pauseMs(response: IncomingMessage, attempt: number): number {
  const header = response.headers["retry-after"];
  const seconds = header === undefined ? Number.NaN : Number(header);
  const untilDate = header === undefined ? Number.NaN : Date.parse(header) - Temporal.Now.instant().epochMilliseconds;
  const asked = Number.isFinite(seconds) ? seconds * 1000 : untilDate;
  const own = 250 * 2 ** attempt * (0.5 + Math.random() / 2);
  return Math.min(maxPauseMs, Math.max(0, Number.isFinite(asked) ? asked : own));
}

/** The registry's own words, if it has any, made harmless for a log line. */
function messageIn(body: Buffer): string {
  try {
    const document: unknown = JSON.parse(body.toString("utf8"));
    const errors = isObject(document) && Array.isArray(document["errors"]) ? document["errors"] : [];
    const [first] = errors;
    const message = isObject(first) ? (first["message"] ?? first["code"]) : undefined;
    return typeof message === "string" ? message.replace(/[^\x20-\x7e]+/g, " ").slice(0, 200) : "";
  } catch {
    return "";
  }
}

function remedyFor(code: string): string {
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") return "check its name and this node's DNS";
  if (code === "ECONNREFUSED") return "check that it runs and its port";
  if (/CERT|SIGNATURE|SELF_SIGNED|SSL|EPROTO|ALTNAME/.test(code)) {
    return "check its certificate, or set insecure = true for it in registries.conf";
  }
  return "check the network, or set up a mirror in registries.conf";
}

import { DomainError } from "../../lib/errors.ts";
import type { Credentials } from "./auth-file.ts";
import { type Challenge, parseChallenges } from "./challenge.ts";
import { type HttpClient, readBody } from "./http.ts";
import { parseDocument } from "./manifest.ts";

const maxTokenBytes = 1024 * 1024;

export interface AuthenticatorOptions {
  readonly http: HttpClient;
  /** The registry: messages name it. */
  readonly host: string;
  /** What is asked for when a challenge names no scope. */
  readonly scope: string;
  readonly credentials: Credentials | undefined;
  /** The registry may be spoken to without TLS, and so may its token service. */
  readonly insecure: boolean;
}

/**
 * Finds the Authorization header for one repository on one host. Credentials go to that host, or to the token service
 * that it names, and nowhere else.
 */
export class Authenticator {
  readonly #options: AuthenticatorOptions;
  #header: string | undefined;
  #renewal: Promise<string> | undefined;

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
    if (options.credentials?.kind === "bearer") this.#header = `Bearer ${options.credentials.token}`;
  }

  /** To be sent with the next request; `undefined` until the registry has asked for one. */
  get header(): string | undefined {
    return this.#header;
  }

  /**
   * Answers a 401. Resolves with the header to try next; `refused` is the one that was refused, so that requests in
   * parallel fetch one token. Throws `failedPrecondition` when there is nothing to try.
   */
  async renew(challengeHeader: string, refused: string | undefined, signal: AbortSignal): Promise<string> {
    if (this.#header !== undefined && this.#header !== refused) return this.#header;
    this.#renewal ??= this.#authenticate(parseChallenges(challengeHeader), signal).finally(() => {
      this.#renewal = undefined;
    });
    this.#header = await this.#renewal;
    return this.#header;
  }

  async #authenticate(challenges: readonly Challenge[], signal: AbortSignal): Promise<string> {
    const { credentials, host } = this.#options;
    const bearer = challenges.find(({ scheme }) => scheme === "bearer");
    if (bearer !== undefined) return `Bearer ${await this.#token(bearer, signal)}`;
    if (challenges.some(({ scheme }) => scheme === "basic")) {
      if (credentials?.kind === "basic") return basic(credentials.username, credentials.password);
      throw this.#denied("it asks for a user name and password, and there are none for this host");
    }
    throw this.#denied(`it offers no way to authenticate that is known (${host})`);
  }

  async #token(challenge: Challenge, signal: AbortSignal): Promise<string> {
    const { http, credentials, insecure, scope } = this.#options;
    const realm = this.#realm(challenge);
    const query = new URLSearchParams({ scope: challenge.parameters.get("scope") ?? scope });
    const service = challenge.parameters.get("service");
    if (service !== undefined) query.set("service", service);
    const headers: Record<string, string> = { accept: "application/json" };
    const isOauth = credentials?.kind === "identity";
    if (isOauth) {
      query.set("grant_type", "refresh_token");
      query.set("refresh_token", credentials.token);
      query.set("client_id", "nacelle");
      headers["content-type"] = "application/x-www-form-urlencoded";
    } else {
      for (const [key, value] of query) realm.searchParams.append(key, value);
      if (credentials?.kind === "basic") headers["authorization"] = basic(credentials.username, credentials.password);
    }
    const request = { url: realm, headers, insecure };
    const response = await http.send(
      isOauth ? { ...request, method: "POST", body: query.toString() } : request,
      signal,
    );
    const body = await readBody(response, maxTokenBytes);
    if (response.statusCode !== 200 || body === undefined) {
      const status = response.statusCode ?? 0;
      if (status === 429 || status >= 500) {
        throw new DomainError("unavailable", `RegistryUnavailable: token service ${realm.host} answered ${status}`);
      }
      throw this.#denied(`its token service ${realm.host} answered ${status}`);
    }
    const document = parseDocument(body, `answer of the token service ${realm.host}`);
    const token = document["token"] ?? document["access_token"];
    if (typeof token !== "string" || !/^[\x21-\x7e]+$/.test(token)) throw this.#denied(`${realm.host} gave no token`);
    return token;
  }

  #realm(challenge: Challenge): URL {
    const realm = challenge.parameters.get("realm") ?? "";
    if (!URL.canParse(realm)) throw this.#denied("its challenge names no token service");
    const url = new URL(realm);
    if (url.protocol !== "https:" && !(this.#options.insecure && url.protocol === "http:")) {
      throw this.#denied(`its token service ${url.host} does not use TLS`);
    }
    url.username = "";
    url.password = "";
    return url;
  }

  #denied(why: string): DomainError {
    const { host, scope, credentials } = this.#options;
    const had = credentials === undefined ? "no credentials were given" : "check the credentials";
    return new DomainError("failedPrecondition", `registry ${host} refuses ${scope}: ${why}; ${had}`);
  }
}

function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}

import { invalidArgument } from "../../lib/errors.ts";

/** As a kubelet sends them. */
export interface AuthConfig {
  readonly username: string;
  readonly password: string;
  /** base64 of "username:password". */
  readonly auth: string;
  readonly serverAddress: string;
  /** An OAuth2 refresh token. */
  readonly identityToken: string;
  /** A bearer token for the registry itself. */
  readonly registryToken: string;
}

/** What is presented to one host. Never logged, never in a message. */
export type Credentials =
  | { readonly kind: "basic"; readonly username: string; readonly password: string }
  | { readonly kind: "identity"; readonly token: string }
  | { readonly kind: "bearer"; readonly token: string };

/** Credentials by the name under which a file has them: a host, or a host with the beginning of a path. */
export type AuthFile = ReadonlyMap<string, Credentials>;

/** Parses auth.json or docker's config.json; helpers that would have to be executed are not asked. Empty text: empty. */
export function parseAuthFile(text: string, file: string): AuthFile {
  const entries = new Map<string, Credentials>();
  if (text.trim() === "") return entries;
  const auths = member(parseJson(text, file), "auths");
  if (typeof auths !== "object" || auths === null) return entries;
  for (const [key, value] of Object.entries(auths)) {
    const field = (name: string) => {
      const found = member(value, name);
      return typeof found === "string" ? found : "";
    };
    const credentials = toCredentials(
      {
        username: field("username"),
        password: field("password"),
        auth: field("auth"),
        serverAddress: key,
        identityToken: field("identitytoken"),
        registryToken: field("registrytoken"),
      },
      `${file}: auths.${key}`,
    );
    if (credentials !== undefined) entries.set(normaliseKey(key), credentials);
  }
  return entries;
}

/** `undefined` for empty ones. Throws `invalidArgument` that names `where`, never what is in it. */
export function toCredentials(config: AuthConfig, where: string): Credentials | undefined {
  if (config.registryToken !== "") return { kind: "bearer", token: config.registryToken };
  if (config.identityToken !== "") return { kind: "identity", token: config.identityToken };
  if (config.username !== "") return { kind: "basic", username: config.username, password: config.password };
  if (config.auth === "") return undefined;
  const decoded = Buffer.from(config.auth, "base64").toString("utf8");
  const colon = decoded.indexOf(":");
  if (colon < 0) throw invalidArgument(`${where}: auth is not the base64 of "username:password"`);
  // Docker pads with NULs.
  return { kind: "basic", username: decoded.slice(0, colon), password: decoded.slice(colon + 1).replace(/\0+$/, "") };
}

/** The entry with the longest matching name: "host/a/b" before "host/a" before "host". */
export function findCredentials(files: readonly AuthFile[], host: string, path: string): Credentials | undefined {
  const parts = path.split("/");
  for (const file of files) {
    for (let count = parts.length; count >= 0; count--) {
      const found = file.get([host, ...parts.slice(0, count)].join("/"));
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

/** The host that a server address or an auth file's key names, with what follows it; docker.io's many names are one. */
export function normaliseKey(address: string): string {
  const plain = address.replace(/^https?:\/\//, "").replace(/\/+$/, "");
  const [host = "", ...path] = plain.split("/");
  if (isDockerHub(host)) return /^v[12]?$/.test(path.join("/")) ? "docker.io" : ["docker.io", ...path].join("/");
  return /^v[12]$/.test(path.join("/")) ? host : plain;
}

/** docker.io is served by other hosts. */
export function isDockerHub(host: string): boolean {
  return host === "docker.io" || host === "index.docker.io" || host === "registry-1.docker.io";
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's message would quote the text, and so a secret.
    throw invalidArgument(`${file} is not JSON`);
  }
}

function member(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
}

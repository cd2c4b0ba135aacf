import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { gzipSync } from "node:zlib";

export function sha256(bytes: Buffer | string): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

export interface Blob {
  readonly bytes: Buffer;
  readonly mediaType: string;
  readonly digest: string;
}

export function blobOf(bytes: Buffer, mediaType: string): Blob {
  return { bytes, mediaType, digest: sha256(bytes) };
}

export function descriptor({ bytes, mediaType, digest }: Blob) {
  return { mediaType, digest, size: bytes.length };
}

export interface TestImage {
  readonly manifest: Blob;
  readonly config: Blob;
  readonly layers: readonly Blob[];
}

export const ociGzip = "application/vnd.oci.image.layer.v1.tar+gzip";
export const ociManifest = "application/vnd.oci.image.manifest.v1+json";
export const ociIndex = "application/vnd.oci.image.index.v1+json";

/** An image of tar archives. `pack` compresses them, as `layerType` says. */
export function makeImage(
  tars: readonly Buffer[],
  config: Readonly<Record<string, unknown>> = {},
  pack: (tar: Buffer) => Buffer = (tar) => gzipSync(tar),
  layerType = ociGzip,
): TestImage {
  const layers = tars.map((tar) => blobOf(pack(tar), layerType));
  const document = {
    os: "linux",
    architecture: "amd64",
    config,
    rootfs: { type: "layers", diff_ids: tars.map(sha256) },
  };
  const configBlob = blobOf(Buffer.from(JSON.stringify(document)), "application/vnd.oci.image.config.v1+json");
  const manifest = {
    schemaVersion: 2,
    mediaType: ociManifest,
    config: descriptor(configBlob),
    layers: layers.map(descriptor),
  };
  return { manifest: blobOf(Buffer.from(JSON.stringify(manifest)), ociManifest), config: configBlob, layers };
}

export function makeIndex(entries: readonly { readonly manifest: Blob; readonly platform: object }[]): Blob {
  const manifests = entries.map(({ manifest, platform }) => ({ ...descriptor(manifest), platform }));
  return blobOf(Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: ociIndex, manifests })), ociIndex);
}

type Intercept = (request: IncomingMessage, response: ServerResponse) => boolean;

/** A registry in this process, which tests can make misbehave. */
export class FakeRegistry implements AsyncDisposable {
  readonly #server: Server;
  readonly #blobs = new Map<string, Blob>();
  readonly #tags = new Map<string, Blob>();
  /** Each request: method, URL, and the Authorization header. */
  readonly requests: { readonly url: string; readonly authorization: string | undefined }[] = [];
  /** Answers a request itself and returns true, or leaves it alone. */
  intercept: Intercept = () => false;

  private constructor(server: Server) {
    this.#server = server;
    server.on("request", (request: IncomingMessage, response: ServerResponse) => this.#answer(request, response));
  }

  static async start(): Promise<FakeRegistry> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new FakeRegistry(server);
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  add(name: string, tag: string, image: TestImage): void {
    for (const blob of [image.manifest, image.config, ...image.layers]) this.#blobs.set(blob.digest, blob);
    this.#tags.set(`${name}:${tag}`, image.manifest);
  }

  tag(name: string, tag: string, manifest: Blob): void {
    this.#blobs.set(manifest.digest, manifest);
    this.#tags.set(`${name}:${tag}`, manifest);
  }

  /** Serves other bytes under a blob's digest. */
  replace(digest: string, bytes: Buffer): void {
    const blob = this.#blobs.get(digest);
    if (blob !== undefined) this.#blobs.set(digest, { ...blob, bytes });
  }

  /** How often a URL with this text in it was asked for. */
  count(text: string): number {
    return this.requests.filter(({ url }) => url.includes(text)).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { url = "", headers } = request;
    this.requests.push({ url, authorization: headers.authorization });
    if (this.intercept(request, response)) return;
    const [, name = "", kind = "", reference = ""] = /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(url) ?? [];
    const blob =
      this.#blobs.get(reference) ?? (kind === "manifests" ? this.#tags.get(`${name}:${reference}`) : undefined);
    if (blob === undefined) {
      response.writeHead(404, { "content-type": "application/json" });
      response.end(JSON.stringify({ errors: [{ code: "MANIFEST_UNKNOWN", message: "manifest unknown" }] }));
      return;
    }
    const start = Number(/^bytes=([0-9]+)-$/.exec(headers.range ?? "")?.[1] ?? 0);
    const part = blob.bytes.subarray(start);
    const type = kind === "manifests" ? blob.mediaType : "application/octet-stream";
    response.writeHead(start > 0 ? 206 : 200, { "content-type": type, "content-length": part.length });
    response.end(part);
  }
}

/** Debian's docker-registry on a free port of 127.0.0.1, with an empty store. */
export class DockerRegistry implements AsyncDisposable {
  readonly host: string;
  readonly #directory: string;
  readonly #process: ReturnType<typeof spawn>;

  private constructor(host: string, directory: string, process: ReturnType<typeof spawn>) {
    this.host = host;
    this.#directory = directory;
    this.#process = process;
  }

  static async start(): Promise<DockerRegistry> {
    const directory = mkdtempSync(join(tmpdir(), "nacelle-registry-"));
    const host = `127.0.0.1:${await freePort()}`;
    const config = join(directory, "config.yml");
    writeFileSync(
      config,
      `version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: ${directory}/store}}\nhttp: {addr: "${host}"}\n`,
    );
    const child = spawn("docker-registry", ["serve", config], { stdio: ["ignore", "ignore", "pipe"] });
    for await (const line of createInterface({ input: child.stderr })) if (line.includes("listening on")) break;
    child.stderr.resume();
    return new DockerRegistry(host, directory, child);
  }

  async push(name: string, tag: string, image: TestImage): Promise<void> {
    for (const blob of [image.config, ...image.layers]) await this.#pushBlob(name, blob);
    await this.pushManifest(name, tag, image.manifest);
  }

  async pushManifest(name: string, reference: string, { bytes, mediaType }: Blob): Promise<void> {
    const url = `http://${this.host}/v2/${name}/manifests/${reference}`;
    await expectStatus(
      201,
      fetch(url, { method: "PUT", body: new Uint8Array(bytes), headers: { "content-type": mediaType } }),
    );
  }

  async #pushBlob(name: string, { bytes, digest }: Blob): Promise<void> {
    const start = await expectStatus(202, fetch(`http://${this.host}/v2/${name}/blobs/uploads/`, { method: "POST" }));
    const url = new URL(start.headers.get("location") ?? "", `http://${this.host}`);
    url.searchParams.set("digest", digest);
    const headers = { "content-type": "application/octet-stream" };
    await expectStatus(201, fetch(url, { method: "PUT", body: new Uint8Array(bytes), headers }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await ended;
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

async function expectStatus(status: number, request: Promise<Response>): Promise<Response> {
  const response = await request;
  if (response.status !== status)
    throw new Error(`${response.url} answered ${response.status}: ${await response.text()}`);
  return response;
}

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

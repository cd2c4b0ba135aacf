import { once } from "node:events";
import { chmod } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { DomainError, invalidArgument, messageOf } from "../lib/errors.ts";
import { claimSocket } from "../server/socket.ts";

/** What the administrative interface can be asked; each answer but the metrics is JSON. */
export interface AdminPorts {
  /** Rejects with the reason when the server is not well. */
  health(): Promise<void>;
  state(): Promise<unknown>;
  /** For Prometheus, in its text format. */
  metrics(): Promise<MetricsText>;
  /** Takes images out of a directory on this host; `name` names the only one. Resolves with their ids. */
  importImages(path: string, name: string | undefined, signal: AbortSignal): Promise<readonly string[]>;
}

export interface MetricsText {
  readonly contentType: string;
  readonly text: string;
}

const MAX_BODY_BYTES = 65_536;
const MAX_CONNECTIONS = 64;

/**
 * The administrative HTTP interface on a unix socket (0600). It is there before the server is ready, so that what takes
 * long at start-up can be seen, and owning its socket means owning the run directory.
 */
export class AdminServer implements AsyncDisposable {
  readonly #server: Server;
  #ports: AdminPorts;

  private constructor(ports: AdminPorts) {
    this.#ports = ports;
    this.#server = createServer((request, response) => void this.#answer(request, response));
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /** Throws `failedPrecondition` (busy socket) when another process serves it. A socket that nobody serves is replaced. */
  static async listen(socket: string, ports: AdminPorts): Promise<AdminServer> {
    await claimSocket(socket);
    const admin = new AdminServer(ports);
    admin.#server.listen(socket);
    await once(admin.#server, "listening");
    admin.#server.on("error", () => {}); // one connection could not be accepted: its client knows
    await chmod(socket, 0o600);
    return admin;
  }

  /** From now on these answer. */
  serve(ports: AdminPorts): void {
    this.#ports = ports;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once("close", () => gone.abort(new DomainError("unavailable", "the client has gone away")));
    try {
      if (isRead(request, "/metrics")) sendMetrics(response, await this.#ports.metrics());
      else send(response, 200, await this.#route(request, gone.signal));
    } catch (error) {
      send(response, statusOf(error), { error: messageOf(error) });
    }
  }

  async #route(request: IncomingMessage, signal: AbortSignal): Promise<unknown> {
    const asked = `${request.method} ${request.url?.split("?")[0]}`;
    switch (asked) {
      case "GET /healthz":
        await this.#ports.health();
        return { status: "ok" };
      case "GET /state":
        return this.#ports.state();
      case "POST /images/import": {
        const { path, name } = importRequest(await readJson(request));
        return { ids: await this.#ports.importImages(path, name, signal) };
      }
      default:
        throw new DomainError(
          "notFound",
          `${asked}: there are GET /healthz, GET /state, GET /metrics and POST /images/import`,
        );
    }
  }
}

/** Whether it asks for this path, whatever stands behind its "?". */
export function isRead({ method, url }: IncomingMessage, path: string): boolean {
  return method === "GET" && url?.split("?")[0] === path;
}

export function sendMetrics(response: ServerResponse, { contentType, text }: MetricsText): void {
  if (response.destroyed) return;
  response.writeHead(200, { "content-type": contentType, connection: "close" });
  response.end(text);
}

function send(response: ServerResponse, status: number, body: unknown): void {
  if (response.destroyed) return;
  response.writeHead(status, { "content-type": "application/json", connection: "close" });
  response.end(`${JSON.stringify(body)}\n`);
}

function statusOf(error: unknown): number {
  if (!(error instanceof DomainError)) return 500;
  const statuses: Partial<Record<DomainError["kind"], number>> = {
    invalidArgument: 400,
    notFound: 404,
    failedPrecondition: 409,
    unavailable: 503,
    deadlineExceeded: 503,
  };
  return statuses[error.kind] ?? 500;
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_BODY_BYTES) throw invalidArgument(`a request has at most ${MAX_BODY_BYTES} bytes`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    throw invalidArgument("the request's body is not JSON");
  }
}

function importRequest(body: unknown): { readonly path: string; readonly name: string | undefined } {
  const { path, name } = typeof body === "object" && body !== null ? (body as Record<string, unknown>) : {};
  if (typeof path !== "string" || !path.startsWith("/")) throw invalidArgument("path: expected an absolute path");
  if (name !== undefined && typeof name !== "string") throw invalidArgument("name: expected a text");
  return { path, name };
}

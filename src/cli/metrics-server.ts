import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { DomainError, messageOf } from "../lib/errors.ts";
import { isRead, type MetricsText, sendMetrics } from "./admin-server.ts";

const MAX_CONNECTIONS = 64;
const REQUEST_MS = 10_000;

/** `GET /metrics` on TCP, and nothing else: whoever can connect may read them. */
export class MetricsServer implements AsyncDisposable {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** `address` is "host:port", IPv6 hosts in brackets. Throws `failedPrecondition` when it cannot be listened on. */
  static async listen(address: string, read: () => Promise<MetricsText>): Promise<MetricsServer> {
    const limits = { requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS };
    const server = createServer(limits, (request, response) => {
      if (!isRead(request, "/metrics")) {
        response.writeHead(404, { connection: "close" }).end("there is GET /metrics\n");
        return;
      }
      read().then(
        (metrics) => sendMetrics(response, metrics),
        (error: unknown) => response.writeHead(500, { connection: "close" }).end(`${messageOf(error)}\n`),
      );
    });
    server.maxConnections = MAX_CONNECTIONS;
    const colon = address.lastIndexOf(":");
    try {
      server.listen({ host: address.slice(0, colon).replace(/^\[|\]$/g, ""), port: Number(address.slice(colon + 1)) });
      await once(server, "listening");
    } catch (error) {
      const message = `metrics.listen: cannot listen on ${address}: ${messageOf(error)}`;
      throw new DomainError("failedPrecondition", message, { cause: error });
    }
    server.on("error", () => {}); // one connection could not be accepted: its client knows
    return new MetricsServer(server);
  }

  /** "host:port" as it is. */
  get address(): string {
    const bound = this.#server.address();
    return typeof bound === "object" && bound !== null ? `${bound.address}:${bound.port}` : "";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}

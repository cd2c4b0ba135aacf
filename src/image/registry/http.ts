import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { addAbortSignal } from "node:stream";

export interface HttpTimeouts {
  /** Until a connection stands, TLS included. */
  readonly connectMs: number;
  /** Without a byte in either direction. There is no limit on the whole: large layers take long. */
  readonly stallMs: number;
}

export interface HttpRequest {
  readonly url: URL;
  readonly method?: "GET" | "POST";
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** HTTPS without verification of the certificate. */
  readonly insecure: boolean;
}

/** The connection was refused, lost, or stood still. */
export class HttpError extends Error {
  override readonly name = "HttpError";
  /** As Node names it, such as ECONNREFUSED; ETIMEDOUT also for our own timeouts. */
  readonly code: string;

  constructor(message: string, code: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/** HTTP/1.1 with connections that are kept, proxies from the environment, and time limits on standing still only. */
export class HttpClient implements Disposable {
  readonly #timeouts: HttpTimeouts;
  readonly #plain: HttpAgent;
  readonly #secure: HttpsAgent;
  readonly #unverified: HttpsAgent;

  constructor(timeouts: HttpTimeouts, proxyEnv: NodeJS.ProcessEnv = {}) {
    this.#timeouts = timeouts;
    const options = { keepAlive: true, maxSockets: 16, maxFreeSockets: 4, proxyEnv };
    this.#plain = new HttpAgent(options);
    this.#secure = new HttpsAgent(options);
    this.#unverified = new HttpsAgent({ ...options, rejectUnauthorized: false });
  }

  /** Resolves with the head of the response, whatever its status. Throws `HttpError` or `signal.reason`. */
  async send(
    { url, method = "GET", headers, body, insecure }: HttpRequest,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    signal.throwIfAborted();
    const isSecure = url.protocol === "https:";
    const agent = !isSecure ? this.#plain : insecure ? this.#unverified : this.#secure;
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const request = (isSecure ? httpsRequest : httpRequest)(url, { method, headers, agent, signal });
    const { connectMs, stallMs } = this.#timeouts;
    const timer = setTimeout(() => {
      request.destroy(new HttpError(`no connection within ${connectMs / 1000} s`, "ETIMEDOUT"));
    }, connectMs);
    const connected = () => clearTimeout(timer);
    request.on("socket", (socket) => {
      if (socket.connecting) socket.once(isSecure ? "secureConnect" : "connect", connected);
      else connected();
    });
    let response: IncomingMessage | undefined;
    request.setTimeout(stallMs, () => {
      // Bytes that wait here say that we are slow, not the registry.
      if ((response?.readableLength ?? 0) > 0) return;
      const stall = new HttpError(`nothing received for ${stallMs / 1000} s`, "ETIMEDOUT");
      (response ?? request).destroy(stall);
    });
    request.on("response", resolve).on("error", reject).on("close", connected);
    request.end(body);
    try {
      response = await promise;
      connected();
      // The request's own signal ends to matter once the head of the response is here.
      addAbortSignal(signal, response);
      response.on("error", () => {}); // a reader is told by its iteration; without one nobody cares
      return response;
    } catch (error) {
      signal.throwIfAborted();
      throw toHttpError(error);
    }
  }

  [Symbol.dispose](): void {
    this.#plain.destroy();
    this.#secure.destroy();
    this.#unverified.destroy();
  }
}

/** Any failure of a request or of reading its response. */
export function toHttpError(error: unknown): HttpError {
  if (error instanceof HttpError) return error;
  // Several addresses were tried: the last one tells most.
  const cause: unknown = error instanceof AggregateError ? error.errors.at(-1) : error;
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  return new HttpError(cause instanceof Error ? cause.message : String(cause), code, error);
}

/** The body, if it has at most `max` bytes; else `undefined`, and the connection is given up. Throws `HttpError`. */
export async function readBody(response: IncomingMessage, max: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response) {
      size += chunk.length;
      if (size > max) return undefined; // leaving the loop destroys the stream
      chunks.push(chunk);
    }
  } catch (error) {
    throw toHttpError(error);
  }
  return Buffer.concat(chunks);
}

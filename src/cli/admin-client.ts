import { request } from "node:http";
import { DomainError, hasCode } from "../lib/errors.ts";

const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

interface AdminRequest {
  readonly socket: string;
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly body?: unknown;
  /** How long the server may be silent. */
  readonly timeoutMs: number;
}

/**
 * Asks a running server. Resolves with the parsed answer, or with undefined when no server listens there. Throws a
 * `DomainError` with the server's own words when it refuses.
 */
export async function askAdmin(asked: AdminRequest): Promise<unknown> {
  let answer: { readonly status: number; readonly text: string };
  try {
    answer = await exchange(asked);
  } catch (error) {
    if (hasCode(error, "ENOENT") || hasCode(error, "ECONNREFUSED")) return undefined;
    if (hasCode(error, "EACCES")) {
      throw new DomainError("failedPrecondition", `no right to use ${asked.socket}: use sudo`, { cause: error });
    }
    throw error;
  }
  const parsed = parse(answer.text, asked.socket);
  if (answer.status === 200) return parsed;
  const said = typeof parsed === "object" && parsed !== null && "error" in parsed ? String(parsed.error) : answer.text;
  throw new DomainError("unavailable", said);
}

async function exchange({ socket, method, path, body, timeoutMs }: AdminRequest) {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>();
  const call = request({ socketPath: socket, method, path, timeout: timeoutMs }, (response) => {
    const chunks: Buffer[] = [];
    let length = 0;
    response.on("data", (chunk: Buffer) => {
      length += chunk.length;
      chunks.push(chunk);
      if (length > MAX_ANSWER_BYTES) call.destroy(new DomainError("internal", `${socket} answers without end`));
    });
    response.on("end", () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
    response.on("error", reject);
  });
  call.on("timeout", () =>
    call.destroy(new DomainError("deadlineExceeded", `the server at ${socket} does not answer: look at its log`)),
  );
  call.on("error", reject);
  call.end(body === undefined ? undefined : JSON.stringify(body));
  return promise;
}

function parse(text: string, socket: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new DomainError("internal", `${socket} is not served by nacelle: its answer is no JSON`);
  }
}

import { chmod, mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  Server,
  ServerCredentials,
  type ServerOptions,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { DomainError, hasCode, invalidArgument, messageOf } from "../lib/errors.ts";
import { claimSocket } from "./socket.ts";

const MIB = 1024 * 1024;
/** `sun_path` holds 108 bytes, one of them the NUL at the end. */
const MAX_PATH_BYTES = 107;

const limits: ServerOptions = {
  "grpc.max_receive_message_length": 16 * MIB,
  // Kubelets take 16 MiB; a client that has raised its own limit may get more.
  "grpc.max_send_message_length": 32 * MIB,
};

export type Service = readonly [ServiceDefinition, UntypedServiceImplementation];

export interface ListenOptions {
  /** Absolute path of the socket. Its directory is made when absent. */
  readonly socket: string;
  readonly services: readonly Service[];
  /** How long calls in flight may go on after disposal has begun. */
  readonly graceMs?: number;
}

/**
 * Serves on a unix socket (0660) until disposed; then refuses new calls and lets running ones finish, but no longer
 * than the grace: after it they are cancelled. A socket that nobody answers on is replaced.
 *
 * @throws DomainError `failedPrecondition` when another process serves the socket or something else is in its place
 */
export async function listen({ socket, services, graceMs = 10_000 }: ListenOptions): Promise<AsyncDisposable> {
  requireSocketPath(socket);
  const server = new Server(limits);
  for (const [definition, handlers] of services) server.addService(definition, handlers);
  await mkdir(dirname(socket), { recursive: true, mode: 0o755 });
  await claimSocket(socket);
  await bind(server, socket);
  // Until here only its owner could write to it, and so connect.
  await chmod(socket, 0o660);
  return {
    async [Symbol.asyncDispose]() {
      const timer = new AbortController();
      const drained = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
      await Promise.race([drained, sleep(graceMs, undefined, { signal: timer.signal })]);
      timer.abort();
      server.forceShutdown();
    },
  };
}

function requireSocketPath(socket: string): void {
  if (!socket.startsWith("/")) throw invalidArgument(`socket path ${JSON.stringify(socket)} is not absolute`);
  const bytes = Buffer.byteLength(socket);
  if (bytes <= MAX_PATH_BYTES) return;
  throw invalidArgument(`socket path ${socket} has ${bytes} bytes; the kernel takes ${MAX_PATH_BYTES}`);
}

async function bind(server: Server, socket: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.bindAsync(`unix://${socket}`, ServerCredentials.createInsecure(), (error) =>
    error === null ? resolve() : reject(error),
  );
  try {
    await promise;
  } catch (error) {
    const busy = hasCode(error, "EADDRINUSE") || messageOf(error).includes("EADDRINUSE");
    if (!busy) throw error;
    throw new DomainError("failedPrecondition", `socket ${socket} was taken by another process just now`, {
      cause: error,
    });
  }
}

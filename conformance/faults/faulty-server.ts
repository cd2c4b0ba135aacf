import { mkdir, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as breathe } from "node:timers/promises";
import {
  credentials,
  type GrpcObject,
  loadPackageDefinition,
  type ServiceClientConstructor,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { appeared } from "../harness/event.ts";
import { Server, type ServerOptions } from "../harness/server.ts";
import type { Orders } from "./kill-at-step.ts";
import type { Node } from "./pod-life.ts";
import { ServerError } from "./server-error.ts";

type Client = InstanceType<ServiceClientConstructor>;
type Method = (request: object, options: object, done: (error: ServiceError | null, answer: unknown) => void) => void;

const preload = join(import.meta.dirname, "kill-at-step.ts");
const proto = join(import.meta.dirname, "../../proto/cri-api/api.proto");
const ARM_MS = 10_000;
const CALL_MS = 60_000;
const REVIVE_MS = 30_000;
/** grpc-js would wait a second before it connects again. */
const EAGER = { "grpc.initial_reconnect_backoff_ms": 20, "grpc.max_reconnect_backoff_ms": 50 };

/** A server that can be told to kill a process at its k-th step, and a client that survives that. */
export class FaultyServer implements Node, AsyncDisposable {
  readonly server: Server;
  readonly #folder: string;
  readonly #clients: readonly Client[];
  restarts = 0;

  private constructor(server: Server, folder: string) {
    this.server = server;
    this.#folder = folder;
    const { runtime } = loadPackageDefinition(loadSync(proto, { enums: String, longs: String, defaults: true }));
    const { v1 } = runtime as { v1: GrpcObject };
    const services = [v1.RuntimeService, v1.ImageService] as ServiceClientConstructor[];
    this.#clients = services.map((Service) => new Service(server.endpoint, credentials.createInsecure(), EAGER));
  }

  /** `folder` exists and is this server's alone. */
  static async start(folder: string, options: ServerOptions = {}): Promise<FaultyServer> {
    await mkdir(folder, { recursive: true });
    const env = { ...options.env, NACELLE_FAULTS: folder, NODE_OPTIONS: `--import ${preload}` };
    return new FaultyServer(await Server.start({ ...options, env }), folder);
  }

  /** Counts steps from now on. */
  async arm(orders: Omit<Orders, "runDir">): Promise<void> {
    const armed = join(this.#folder, "armed");
    await rm(armed, { force: true });
    await rm(this.#killed, { force: true });
    await writeFile(join(this.#folder, "orders.json"), JSON.stringify({ ...orders, runDir: this.server.paths.runDir }));
    process.kill(this.server.pid, "SIGUSR2");
    await appeared(armed, AbortSignal.timeout(ARM_MS));
  }

  /** Whether the step has come that was ordered last. */
  async hasKilled(): Promise<boolean> {
    return await stat(this.#killed).then(
      () => true,
      () => false,
    );
  }

  get #killed(): string {
    return join(this.#folder, "killed");
  }

  get tracePath(): string {
    return join(this.#folder, "trace");
  }

  async call<Answer>(method: string, request: object): Promise<Answer> {
    const client = this.#clients.find((one) => method in one);
    const call = client?.[method] as Method | undefined;
    if (client === undefined || call === undefined) throw new Error(`no method ${method}`);
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    call.call(client, request, { deadline: Date.now() + CALL_MS }, (error, answer) => {
      if (error === null) resolve(answer as Answer);
      else reject(new ServerError(method, status[error.code] ?? String(error.code), error.details));
    });
    return promise;
  }

  async revive(): Promise<void> {
    const deadline = performance.now() + REVIVE_MS;
    for (;;) {
      if (!this.server.isRunning) {
        this.restarts += 1;
        await this.server.restart();
      }
      try {
        await this.call("Version", {});
        return;
      } catch (error) {
        // It has just died and is not known to have, or the client has not connected again yet.
        if (performance.now() > deadline) throw error;
        await breathe();
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.close();
    await this.server[Symbol.asyncDispose]();
  }
}

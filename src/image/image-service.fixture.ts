import { mkdtempSync, rmSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Operation, Operations } from "../launcher/operations.ts";
import { Turns } from "../lib/turns.ts";
import { Store } from "../state/store.ts";
import { ImageService } from "./image-service.ts";
import { LayerWorkers } from "./layer/layer-workers.ts";
import { ProcessUnpacker } from "./layer/process-unpacker.fixture.ts";
import { LayerStore } from "./layer-store.ts";
import { HttpClient } from "./registry/http.ts";

/** The launcher's part as far as images need it, in this process. */
export class LocalOperations implements Operations {
  readonly performed: Operation[] = [];

  run(): Promise<never> {
    return Promise.reject(new Error("nothing is run here"));
  }

  async perform(operations: readonly Operation[]): Promise<readonly Buffer[]> {
    for (const operation of operations) {
      this.performed.push(operation);
      if (operation.op === "mkdir")
        await mkdir(operation.path, { recursive: operation.parents ?? true, mode: operation.mode });
      else if (operation.op === "rmtree") await rm(operation.path, { recursive: true, force: true });
      else if (operation.op !== "syncfs") throw new Error(`${operation.op} is not done here`);
    }
    return operations.map(() => Buffer.alloc(0));
  }
}

/** A service on a state root of its own, with real workers and unpack processes. */
export class ServiceUnderTest implements AsyncDisposable {
  readonly root: string;
  readonly operations = new LocalOperations();
  readonly workers = new LayerWorkers({ max: 2, idleMs: 60_000 });
  readonly unpacker = new ProcessUnpacker();
  readonly http = new HttpClient({ connectMs: 5_000, stallMs: 5_000 });
  readonly reports: string[] = [];
  readonly configFile: string;
  store!: Store;
  layers!: LayerStore;
  images!: ImageService;

  private constructor() {
    this.root = mkdtempSync(join(tmpdir(), "nacelle-images-"));
    this.configFile = join(this.root, "registries.conf");
  }

  static async start(): Promise<ServiceUnderTest> {
    const test = new ServiceUnderTest();
    await test.open();
    return test;
  }

  /** As a daemon does at its start. `containers` retain their images. */
  async open(containers: ReadonlyMap<string, string> = new Map()): Promise<void> {
    const { root, operations, workers, unpacker, http, configFile } = this;
    this.store = Store.open({ root, bootId: "boot", owner: { pid: process.pid, startTime: "1", listen: "/x" } });
    this.layers = new LayerStore({
      root,
      store: this.store,
      operations,
      unpacker,
      workers,
      report: (text) => this.reports.push(text),
    });
    this.images = new ImageService({
      turns: new Turns({ atOnce: 3, perOwner: 3, waiting: 100, what: "image pulls" }),
      store: this.store,
      operations,
      layers: this.layers,
      http,
      registries: { configFile, authFiles: [join(root, "auth.json")] },
      sync: true,
      places: { root, layers: this.layers.directory, containers: join(root, "containers"), isOne: true },
      written: () => ({ bytes: 0, inodes: 0 }),
      now: () => Temporal.Now.instant(),
    });
    await this.images.recover();
    for (const [container, image] of containers) this.images.retain(container, image);
    await this.images.recovered();
  }

  async close(): Promise<void> {
    await this.layers[Symbol.asyncDispose]();
    await this.store[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
    await this.workers[Symbol.asyncDispose]();
    this.unpacker[Symbol.dispose]();
    this.http[Symbol.dispose]();
    rmSync(this.root, { recursive: true, force: true });
  }
}

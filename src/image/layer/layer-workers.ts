import { Worker } from "node:worker_threads";
import { DomainError } from "../../lib/errors.ts";
import { orAborted } from "../../lib/or-aborted.ts";
import { defaultLimits, type LayerLimits } from "./layer-encoder.ts";
import type { Compression, UnpackedLayer, WorkerReply, WorkerRequest } from "./layer-task.ts";

export interface LayerWorkersOptions {
  /** Layers at once. */
  readonly max: number;
  /** A worker costs 17 MB: one that had nothing to do for so long ends. */
  readonly idleMs: number;
  readonly limits?: LayerLimits;
}

/** Bytes on their way to a worker: it works while more are fetched, and memory stays bounded. */
const creditBytes = 4 * 1024 * 1024;

/** Threads that inflate, hash and parse layers and feed unpack processes, so that the event loop does none of it. */
export class LayerWorkers implements AsyncDisposable {
  readonly #options: LayerWorkersOptions;
  readonly #idle: Worker[] = [];
  readonly #timers = new Map<Worker, NodeJS.Timeout>();
  readonly #waiting: (() => void)[] = [];
  #busy = 0;

  constructor(options: LayerWorkersOptions) {
    this.#options = options;
  }

  /** Threads that exist now. */
  get size(): number {
    return this.#busy + this.#idle.length;
  }

  /**
   * Sends the bytes of `source` through a worker into the unpack process that `open` starts; it resolves with the
   * process's socket and is called when a worker is free. Throws `invalidArgument` when
   * the layer is at fault, `internal` when the host is, what `source` throws, or `signal.reason`.
   */
  async unpack(
    source: AsyncIterable<Uint8Array>,
    open: () => Promise<string>,
    compression: Compression,
    signal: AbortSignal,
  ): Promise<UnpackedLayer> {
    await this.#turn(signal);
    try {
      return await this.#unpack(source, await open(), compression, signal);
    } finally {
      this.#busy -= 1;
      this.#waiting.shift()?.();
    }
  }

  async #unpack(
    source: AsyncIterable<Uint8Array>,
    socketPath: string,
    compression: Compression,
    signal: AbortSignal,
  ): Promise<UnpackedLayer> {
    const worker = this.#idle.pop() ?? startWorker();
    clearTimeout(this.#timers.get(worker));
    worker.ref();
    let reusable = false;
    try {
      const limits = this.#options.limits ?? defaultLimits;
      const layer = await converse(worker, source, { type: "layer", socketPath, compression, limits }, signal);
      reusable = true;
      return layer;
    } finally {
      // A worker in the middle of something is ended: that closes its connection, and the unpack process ends too.
      if (reusable) this.#rest(worker);
      else void worker.terminate();
    }
  }

  /** Ends all threads; those at work fail. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    await Promise.all(this.#idle.splice(0).map((worker) => worker.terminate()));
  }

  async #turn(signal: AbortSignal): Promise<void> {
    while (this.#busy >= this.#options.max) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push(resolve);
      try {
        await orAborted(promise, signal);
      } catch (error) {
        const at = this.#waiting.indexOf(resolve);
        if (at >= 0) this.#waiting.splice(at, 1);
        else this.#waiting.shift()?.(); // it was our turn: pass it on
        throw error;
      }
    }
    signal.throwIfAborted();
    this.#busy += 1;
  }

  #rest(worker: Worker): void {
    this.#idle.push(worker);
    worker.unref();
    const timer = setTimeout(() => {
      const at = this.#idle.indexOf(worker);
      if (at >= 0) this.#idle.splice(at, 1);
      this.#timers.delete(worker);
      void worker.terminate();
    }, this.#options.idleMs);
    timer.unref();
    this.#timers.set(worker, timer);
  }
}

function startWorker(): Worker {
  return new Worker(new URL("./layer-worker.ts", import.meta.url), {
    name: "layer",
    resourceLimits: { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 8 },
  });
}

/** One layer's conversation: bytes with credit, then the answer. */
async function converse(
  worker: Worker,
  source: AsyncIterable<Uint8Array>,
  request: WorkerRequest,
  signal: AbortSignal,
): Promise<UnpackedLayer> {
  const answer = Promise.withResolvers<UnpackedLayer>();
  answer.promise.catch(() => {}); // also awaited below; a feed that fails first is what is told
  let credit = creditBytes;
  let credited = () => {};
  const onMessage = (message: WorkerReply) => {
    if (message.type === "done") return answer.resolve(message.layer);
    if (message.type === "failed") {
      const kind = message.reason === "content" ? "invalidArgument" : "internal";
      return answer.reject(new DomainError(kind, message.message));
    }
    credit += message.bytes;
    credited();
  };
  const onError = (error: unknown) =>
    answer.reject(new DomainError("internal", "layer worker failed", { cause: error }));
  const onExit = () => answer.reject(new DomainError("internal", "layer worker ended"));
  worker.on("message", onMessage).on("error", onError).on("exit", onExit);
  const feed = async () => {
    for await (const bytes of source) {
      while (credit <= 0) {
        await new Promise<void>((resolve) => {
          credited = resolve;
        });
      }
      signal.throwIfAborted();
      // A copy: the source's memory is often a slice of something larger, which a transfer would take along.
      const copy = new Uint8Array(bytes);
      credit -= copy.length;
      worker.postMessage({ type: "chunk", bytes: copy } satisfies WorkerRequest, [copy.buffer]);
    }
    worker.postMessage({ type: "end" } satisfies WorkerRequest);
    return answer.promise;
  };
  try {
    worker.postMessage(request);
    return await orAborted(Promise.race([answer.promise, feed()]), signal);
  } finally {
    credit = Number.POSITIVE_INFINITY;
    credited(); // a feed that waits goes on, and finds its signal aborted or its worker gone
    worker.off("message", onMessage).off("error", onError).off("exit", onExit);
  }
}

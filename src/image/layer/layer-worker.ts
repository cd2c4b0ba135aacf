import { createHash } from "node:crypto";
import { setPriority } from "node:os";
import { Readable, type Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { parentPort } from "node:worker_threads";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { FrameEncoder } from "./frames.ts";
import { LayerEncoder } from "./layer-encoder.ts";
import type { LayerFailure, UnpackedLayer, WorkerReply, WorkerRequest } from "./layer-task.ts";
import { TarError } from "./tar-entry.ts";
import { TarParser } from "./tar-parser.ts";
import { UnpackConnection, UnpackError } from "./unpack-connection.ts";

type LayerRequest = Extract<WorkerRequest, { type: "layer" }>;

const port = parentPort;
if (port === null) throw new Error("layer-worker.ts runs in a worker thread only");

const inflateChunkBytes = 256 * 1024;
/** Inflated bytes from which on the ratio is asked for. */
const ratioFromBytes = 2 ** 30;

setPriority(0, 10); // this thread's, on Linux: inflating must not delay requests

/** Messages in their order; a layer's bytes are pulled from it. */
const queue: WorkerRequest[] = [];
let wake: (() => void) | undefined;

port.on("message", (message: WorkerRequest) => {
  queue.push(message);
  wake?.();
});

function reply(message: WorkerReply): void {
  port?.postMessage(message);
}

async function next(): Promise<WorkerRequest> {
  for (let message = queue.shift(); ; message = queue.shift()) {
    if (message !== undefined) return message;
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
}

/** The layer's bytes until their end; each piece is credited when the next one is asked for. */
async function* compressed(count: (bytes: Uint8Array) => void): AsyncGenerator<Uint8Array, void, undefined> {
  for (let message = await next(); message.type === "chunk"; message = await next()) {
    count(message.bytes);
    yield message.bytes;
    reply({ type: "taken", bytes: message.bytes.length });
  }
}

function inflater(compression: LayerRequest["compression"]): Transform[] {
  if (compression === "gzip") return [createGunzip({ chunkSize: inflateChunkBytes })];
  if (compression === "zstd") return [createZstdDecompress({ chunkSize: inflateChunkBytes })];
  return [];
}

async function unpackLayer({ socketPath, compression, limits }: LayerRequest): Promise<UnpackedLayer> {
  using unpack = await UnpackConnection.open(socketPath);
  const digest = createHash("sha256");
  const diffId = createHash("sha256");
  const parser = new TarParser();
  const encoder = new LayerEncoder(new FrameEncoder((slab) => unpack.send(slab)), limits.maxEntries);
  let compressedBytes = 0;
  let inflatedBytes = 0;
  const source = Readable.from(
    compressed((bytes) => {
      digest.update(bytes);
      compressedBytes += bytes.length;
    }),
    { objectMode: false, highWaterMark: 2 * inflateChunkBytes },
  );
  await pipeline([
    source,
    ...inflater(compression),
    async (inflated: AsyncIterable<Buffer>) => {
      for await (const bytes of inflated) {
        diffId.update(bytes);
        inflatedBytes += bytes.length;
        const isBomb = inflatedBytes > ratioFromBytes && inflatedBytes > compressedBytes * limits.maxRatio;
        if (isBomb || inflatedBytes > limits.maxBytes)
          throw new TarError(`layer inflates to more than ${inflatedBytes} bytes`);
        for (const event of parser.push(bytes)) encoder.take(event);
        await unpack.drained();
      }
    },
  ]);
  parser.finish();
  encoder.end();
  const { bytes, inodes } = await unpack.result();
  return {
    digest: `sha256:${digest.digest("hex")}`,
    diffId: `sha256:${diffId.digest("hex")}`,
    compressedBytes,
    inflatedBytes,
    allocatedBytes: bytes,
    inodes,
  };
}

function reasonOf(error: unknown): LayerFailure {
  const isInflate = error instanceof Error && "code" in error && /^(Z_|ZSTD_|ERR_ZSTD)/.test(String(error.code));
  return error instanceof TarError || isInflate ? "content" : "host";
}

for (;;) {
  const request = await next();
  if (request.type !== "layer") continue; // what is left of one that failed
  try {
    reply({ type: "done", layer: await unpackLayer(request) });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    reply({ type: "failed", reason: error instanceof UnpackError ? "host" : reasonOf(error), message });
  }
}

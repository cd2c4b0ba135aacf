import type { LayerLimits } from "./layer-encoder.ts";

export type Compression = "gzip" | "zstd" | "none";

/** What a layer worker is told: a layer, then its bytes as they come, then their end. */
export type WorkerRequest =
  | {
      readonly type: "layer";
      readonly socketPath: string;
      readonly compression: Compression;
      readonly limits: LayerLimits;
    }
  | { readonly type: "chunk"; readonly bytes: Uint8Array }
  | { readonly type: "end" };

/** What it says: how many bytes it took (that is the sender's credit), and how it ended. */
export type WorkerReply =
  | { readonly type: "taken"; readonly bytes: number }
  | { readonly type: "done"; readonly layer: UnpackedLayer }
  | { readonly type: "failed"; readonly reason: LayerFailure; readonly message: string };

/** "content": the layer itself is at fault. "host": the disk, the unpack process, the connection to it. */
export type LayerFailure = "content" | "host";

/** Everything known of a layer once all its bytes went through. Nothing of it is verified against expectations yet. */
export interface UnpackedLayer {
  /** "sha256:…" of the bytes as they came. */
  readonly digest: string;
  /** "sha256:…" of the inflated bytes. */
  readonly diffId: string;
  readonly compressedBytes: number;
  readonly inflatedBytes: number;
  /** Of what was made on disk. */
  readonly allocatedBytes: number;
  readonly inodes: number;
}

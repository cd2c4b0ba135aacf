import type { CriClient } from "../harness/cri-client.ts";
import type { Server } from "../harness/server.ts";
import type { Leftovers } from "./leftovers.ts";
import type { Narrator } from "./narrator.ts";
import type { Pods } from "./pods.ts";

/** What the scenes play on. */
export interface Stage {
  readonly narrator: Narrator;
  readonly server: Server;
  readonly cri: CriClient;
  readonly pods: Pods;
  readonly leftovers: Leftovers;
}

/** Images by what they are for. Each is served in another form, as real registries do. */
export const images = {
  /** An OCI index with gzip layers. */
  busybox: "registry.k8s.io/e2e-test-images/busybox:1.29-2",
  /** A Docker manifest, schema 2. */
  nginx: "registry.k8s.io/e2e-test-images/nginx:1.14-2",
  /** An OCI manifest with a zstd layer. */
  httpd: "registry.k8s.io/e2e-test-images/httpd:2.4.39-4",
} as const;

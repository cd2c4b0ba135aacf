import { join } from "node:path";
import type { ContainerConfig } from "../oci/config.ts";
import { canonicalSignal } from "../oci/signal.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import type { Container, ContainerUser } from "./container.ts";
import type { HeldImages } from "./held-images.ts";

export interface Plan {
  readonly id: string;
  readonly sandbox: Sandbox;
  readonly config: ContainerConfig;
  readonly images: HeldImages;
  readonly createdAt: Temporal.Instant;
}

/** Until the image's own files were read. */
const nobodyYet: ContainerUser = { uid: 0, gid: 0, supplementalGroups: [0] };

/** All that is known of a container before anything of it exists. */
export function planContainer({ id, sandbox, config, images, createdAt }: Plan): Container {
  const { root: image, mounted } = images;
  const stopSignal = config.stopSignal === "" ? image.config.stopSignal : config.stopSignal;
  const { logDirectory } = sandbox.config;
  return {
    id,
    sandboxId: sandbox.id,
    config,
    createdAt,
    imageId: image.id,
    imageRef: image.repoDigests[0] ?? image.id,
    ...(mounted.length === 0
      ? {}
      : { imageMounts: mounted.map((one) => ({ index: one.index, imageId: one.image.id })) }),
    logPath: logDirectory === "" || config.logPath === "" ? "" : join(logDirectory, config.logPath),
    user: nobodyYet,
    stopSignal: stopSignal === "" ? "SIGTERM" : canonicalSignal(stopSignal),
    state: { phase: "creating" },
  };
}

import { join } from "node:path";
import { invalidArgument } from "../lib/errors.ts";
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

/** Of any path that is opened, without its end. */
const MAX_PATH_BYTES = 4095;

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
    logPath: logDirectory === "" || config.logPath === "" ? "" : logPathIn(logDirectory, config.logPath),
    user: nobodyYet,
    stopSignal: stopSignal === "" ? "SIGTERM" : canonicalSignal(stopSignal),
    state: { phase: "creating" },
  };
}

/** Each of the two may be as long as a path can be. */
function logPathIn(directory: string, name: string): string {
  const path = join(directory, name);
  if (Buffer.byteLength(path) <= MAX_PATH_BYTES) return path;
  throw invalidArgument(`config.log_path: below the sandbox's log_directory it is longer than ${MAX_PATH_BYTES} bytes`);
}

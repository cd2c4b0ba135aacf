import { join } from "node:path";
import type { ContainerConfig } from "../oci/config.ts";
import { canonicalSignal } from "../oci/signal.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import type { HeldImage } from "./build-container.ts";
import type { Container, ContainerUser } from "./container.ts";

export interface Plan {
  readonly id: string;
  readonly sandbox: Sandbox;
  readonly config: ContainerConfig;
  readonly image: HeldImage;
  readonly createdAt: Temporal.Instant;
}

const root: ContainerUser = { uid: 0, gid: 0, supplementalGroups: [0] };

/** All that is known of a container before anything of it exists. */
export function planContainer({ id, sandbox, config, image, createdAt }: Plan): Container {
  const stopSignal = config.stopSignal === "" ? image.config.stopSignal : config.stopSignal;
  const { logDirectory } = sandbox.config;
  return {
    id,
    sandboxId: sandbox.id,
    config,
    createdAt,
    imageId: image.id,
    imageRef: image.repoDigests[0] ?? image.id,
    logPath: logDirectory === "" || config.logPath === "" ? "" : join(logDirectory, config.logPath),
    user: root,
    stopSignal: stopSignal === "" ? "SIGTERM" : canonicalSignal(stopSignal),
    state: { phase: "creating" },
  };
}

import { statSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Config } from "../config/schema.ts";
import type { BuildPorts } from "../container/build-container.ts";
import type { ContainerImages } from "../container/held-images.ts";
import type { SpaceTaken } from "../image/filesystem-usage.ts";
import { ImageService } from "../image/image-service.ts";
import { LayerWorkers } from "../image/layer/layer-workers.ts";
import { LayerStore } from "../image/layer-store.ts";
import { HttpClient } from "../image/registry/http.ts";
import { OverlaySnapshotter } from "../image/snapshot.ts";
import type { LauncherSupervisor } from "../launcher/launcher-supervisor.ts";
import type { Log } from "../lib/log.ts";
import { Turns } from "../lib/turns.ts";
import type { Store } from "../state/store.ts";

interface ImageParts {
  readonly config: Config;
  readonly store: Store;
  readonly launcher: LauncherSupervisor;
  readonly log: Log;
  /** What containers have written, as far as it is known. */
  readonly written: () => SpaceTaken;
}

/** The image service and what it stands on. */
export interface OwnImages extends AsyncDisposable {
  readonly service: ImageService;
  readonly containers: ContainerImages;
  readonly snapshots: BuildPorts["snapshots"];
}

const CONNECT_MS = 15_000;
/** A pull that moves no byte for so long is at an end; one that moves may take as long as it likes. */
const STALL_MS = 60_000;
const WORKER_IDLE_MS = 30_000;

/** Docker's own place and Podman's: what an operator has logged in with. */
const AUTH_FILES = ["/etc/containers/auth.json", "/run/containers/0/auth.json", "/root/.docker/config.json"];

/** Takes up the images that the state has. `service.recovered` is to be called when containers have theirs again. */
export async function openImages({ config, store, launcher, log, written }: ImageParts): Promise<OwnImages> {
  const { root, registries, images } = config;
  const containers = join(root, "containers");
  await using owned = new AsyncDisposableStack();
  const http = owned.use(new HttpClient({ connectMs: CONNECT_MS, stallMs: STALL_MS }, process.env));
  const workers = owned.use(new LayerWorkers({ max: 2, idleMs: WORKER_IDLE_MS }));
  const layers = owned.use(
    new LayerStore({
      root,
      store,
      operations: launcher,
      unpacker: { startUnpack: async (dir, silenceMs) => (await launcher.current).startUnpack(dir, silenceMs) },
      workers,
      report: (message) => log.warn(message),
    }),
  );
  const authFiles = registries.authFile === "" ? AUTH_FILES : [registries.authFile];
  const service = new ImageService({
    ...{ store, operations: launcher, layers, http },
    registries: { configFile: registries.configFile, authFiles },
    sync: images.sync,
    turns: new Turns({
      atOnce: images.maxConcurrentPulls,
      perOwner: images.maxConcurrentPulls,
      waiting: 4_096,
      what: "image pulls",
    }),
    places: { root, layers: layers.directory, containers, isOne: deviceOf(layers.directory) === deviceOf(containers) },
    written,
    now: () => Temporal.Now.instant(),
  });
  await service.recover();
  const kept = owned.move();
  return {
    service,
    containers: service,
    snapshots: new OverlaySnapshotter(layers.directory, containers),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Of what is not there yet: where it will be made. */
function deviceOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.dev ?? deviceOf(dirname(path));
}

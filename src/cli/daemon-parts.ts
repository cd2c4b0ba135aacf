import type { Config } from "../config/schema.ts";
import type { BuildPorts } from "../container/build-container.ts";
import type { ContainerImages } from "../container/held-images.ts";
import type { LauncherSupervisor } from "../launcher/launcher-supervisor.ts";
import type { Operations } from "../launcher/operations.ts";
import type { Log } from "../lib/log.ts";
import type { Handlers } from "../sandbox/handlers.ts";
import type { LauncherPort } from "../sandbox/monitors.ts";
import type { Paths } from "../sandbox/paths.ts";
import type { Store } from "../state/store.ts";
import type { Cgroups } from "./cgroups.ts";
import type { Host } from "./host.ts";
import type { LauncherEvents } from "./launcher-events.ts";

/** What exists before the domain does. */
export interface DaemonParts {
  readonly config: Config;
  readonly log: Log;
  readonly store: Store;
  readonly launcher: LauncherSupervisor;
  /** The launcher, as it runs CNI plugins. */
  readonly plugins: Operations;
  readonly launcherEvents: LauncherEvents;
  readonly monitorLauncher: LauncherPort;
  readonly paths: Paths;
  readonly host: Host;
  readonly cgroups: Cgroups;
  readonly handlers: Handlers;
  readonly images: ContainerImages;
  readonly snapshots: BuildPorts["snapshots"];
}

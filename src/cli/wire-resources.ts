import { Checkpoints } from "../container/checkpoints.ts";
import type { ContainerService } from "../container/container-service.ts";
import type { ContainerStore } from "../container/container-store.ts";
import { ResourceUpdates } from "../container/resource-updates.ts";
import type { SandboxService } from "../sandbox/sandbox-service.ts";
import type { SandboxStore } from "../sandbox/sandbox-store.ts";
import type { DaemonParts } from "./daemon-parts.ts";

interface Domain {
  readonly sandboxes: SandboxStore;
  readonly containers: ContainerStore;
  readonly sandboxService: SandboxService;
  readonly containerService: ContainerService;
}

/** Changes of limits, once memory tells the truth. Takes up in the background what a daemon before had promised. */
export function startResourceUpdates(parts: DaemonParts, domain: Domain): ResourceUpdates {
  const { store, launcher, handlers, host, cgroups, log } = parts;
  const { sandboxes, containers, sandboxService, containerService } = domain;
  const updates = new ResourceUpdates({
    store,
    operations: launcher,
    handlers,
    host: host.facts,
    notice: host.notice,
    cgroupFiles: cgroups,
    sandboxes,
    containers,
    find: (id) => containerService.get(id),
    findSandbox: (id) => sandboxService.get(id),
    log: (message, fields) => log.warn(message, fields),
  });
  void updates.resume();
  return updates;
}

/** Checkpoints, once memory tells the truth. Frees in the background what those of a daemon before have left. */
export function startCheckpoints(parts: DaemonParts, { sandboxService, containerService }: Domain): Checkpoints {
  const { launcher, handlers, paths, cgroups, log } = parts;
  const checkpoints = new Checkpoints({
    operations: launcher,
    handlers,
    paths,
    find: (id) => containerService.get(id),
    findSandbox: (id) => sandboxService.get(id),
    thaw: (sandbox, id) => cgroups.thaw(sandbox, id),
    now: () => Temporal.Now.instant(),
    log: (message, fields) => log.warn(message, fields),
  });
  void checkpoints.cleanUp();
  return checkpoints;
}

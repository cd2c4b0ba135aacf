import type { Operation, Operations } from "../launcher/operations.ts";
import type { Handlers } from "../sandbox/handlers.ts";
import type { Monitors } from "../sandbox/monitors.ts";
import type { Paths } from "../sandbox/paths.ts";
import { deleteProcess } from "../sandbox/runtime-calls.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import type { Container } from "./container.ts";
import { unmountImages } from "./volumes.ts";

export interface ReleasePorts {
  readonly operations: Operations;
  readonly handlers: Handlers;
  readonly monitors: Pick<Monitors, "forget" | "unwatch">;
  readonly paths: Paths;
  readonly images: { release(containerId: string): void };
  readonly snapshots: { remove(containerId: string): readonly Operation[] };
  readonly sandboxes: { byId(id: string): Sandbox };
  readonly cgroupDirs: (sandbox: Sandbox, id: string) => readonly string[];
}

/**
 * Frees all that a container holds, whatever of it was ever made: every part follows from its id, and freeing what is
 * absent succeeds. What fails is tried again by the next call.
 */
export async function releaseContainer(ports: ReleasePorts, container: Container): Promise<void> {
  const { id, sandboxId } = container;
  const { operations, handlers, monitors, paths, images, snapshots, cgroupDirs } = ports;
  const sandbox = ports.sandboxes.byId(sandboxId);
  const entry = handlers.findOf(sandbox);
  if (entry !== undefined) await deleteProcess(operations, entry.handler, id);
  const cgroup = cgroupDirs(sandbox, id);
  const copy = paths.exitCopy(id);
  await operations.perform(
    [
      { op: "killCgroup", paths: cgroup },
      { op: "removeCgroup", paths: cgroup },
      { op: "unmount", target: paths.rootfs(id) },
      ...unmountImages(paths, container),
      { op: "rmtree", path: paths.bundle(id) },
      ...snapshots.remove(id),
      // Its monitor has removed it, unless that was lost before.
      ...(copy === "" ? [] : [{ op: "unlink", path: copy } as const]),
    ],
    { owner: id, what: "freeing the container's files", deadlineMs: 60_000 },
  );
  await monitors.forget(sandboxId, id);
  monitors.unwatch(id);
  images.release(id);
}

import type { Monitors } from "../sandbox/monitors.ts";
import type { OrphanEnding } from "../sandbox/process.ts";
import type { SandboxService } from "../sandbox/sandbox-service.ts";
import { type Container, isAlive } from "./container.ts";
import type { ContainerService } from "./container-service.ts";
import type { ContainerStore } from "./container-store.ts";
import { endedUnseen, exited } from "./ending.ts";

export interface LostMonitorPorts {
  readonly monitors: Pick<Monitors, "endOrphan">;
  readonly containers: ContainerStore;
  readonly containerService: Pick<ContainerService, "settle">;
  readonly sandboxService: Pick<SandboxService, "lost">;
  readonly now: () => Temporal.Instant;
}

const MESSAGE = "the process that kept its output and exit status has died; the container was killed";

/**
 * A sandbox's monitor has died. Nothing new starts in it; what lives is killed, because nobody reads its output any
 * more, and is reported with its true exit code where that can be known, else with 255.
 */
export async function monitorLost(ports: LostMonitorPorts, sandboxId: string): Promise<void> {
  ports.sandboxService.lost(sandboxId, "MonitorLost");
  const alive = ports.containers.ofSandbox(sandboxId).filter(isAlive);
  await Promise.all(alive.map((container) => endContainer(ports, container)));
}

async function endContainer(
  { monitors, containers, containerService, now }: LostMonitorPorts,
  container: Container,
): Promise<void> {
  const { state } = container;
  if (state.phase !== "created" && state.phase !== "starting" && state.phase !== "running") return;
  const process = { pid: state.pid, startTime: state.startTime };
  const ending = await monitors.endOrphan(container.sandboxId, container.id, process);
  const current = containers.get(container.id);
  if (current === undefined || !isAlive(current)) return;
  containerService.settle(
    ending === undefined ? endedUnseen(current, "MonitorLost", MESSAGE, now()) : seenEnding(current, ending, now()),
  );
}

function seenEnding(container: Container, ending: OrphanEnding, now: Temporal.Instant): Container {
  const { oomKills = 0n, exitedNs } = ending;
  const finishedAt = exitedNs === undefined ? now : Temporal.Instant.fromEpochNanoseconds(exitedNs);
  // It was killed because its monitor is lost, unless the kernel had done so already.
  return exited(container, { ...ending, oomKills, isKilledByUs: false }, finishedAt);
}

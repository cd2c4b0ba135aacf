import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Operations } from "../launcher/operations.ts";
import { messageOf } from "../lib/errors.ts";
import type { Retries } from "../lib/retries.ts";
import type { MonitoredContainer } from "../monitor/monitored-container.ts";
import type { ExitRecord } from "../monitor/record.ts";
import type { Handlers } from "../sandbox/handlers.ts";
import type { Monitors } from "../sandbox/monitors.ts";
import type { Paths } from "../sandbox/paths.ts";
import { Records } from "../sandbox/records.ts";
import { deleteProcess } from "../sandbox/runtime-calls.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import type { SandboxNetwork } from "../sandbox/sandbox-network.ts";
import type { SandboxService } from "../sandbox/sandbox-service.ts";
import type { SandboxStore } from "../sandbox/sandbox-store.ts";
import type { Change } from "../state/change.ts";
import type { Store } from "../state/store.ts";
import { type Container, isAlive } from "./container.ts";
import type { ContainerService } from "./container-service.ts";
import type { ContainerStore } from "./container-store.ts";
import { endedUnseen, exited, hasRun } from "./ending.ts";
import { monitorLost } from "./lost-monitor.ts";

export interface RecoverPorts {
  readonly store: Store;
  readonly operations: Operations;
  readonly sandboxes: SandboxStore;
  readonly containers: ContainerStore;
  readonly sandboxService: SandboxService;
  readonly containerService: ContainerService;
  readonly monitors: Monitors;
  readonly network: SandboxNetwork;
  readonly handlers: Handlers;
  readonly paths: Paths;
  /** What is still to be freed or ended, tried until it is. */
  readonly discards: Retries;
  /** Text of /proc/self/mountinfo. */
  readonly mountinfo: string;
  readonly now: () => Temporal.Instant;
  readonly log: (message: string, fields: Readonly<Record<string, string>>) => void;
}

/**
 * Makes memory say what is true, before anybody may ask: from the rows, what the monitors tell, and the kernel. What
 * was half made is handed to the background to be undone. The caller has made sure that the launcher of the daemon
 * before, and all that it had started, is gone.
 */
export async function recover(ports: RecoverPorts): Promise<void> {
  if (ports.store.rebooted) await recoverFromReboot(ports);
  const pending = ports.sandboxes.list().filter(({ state }) => !(state.phase === "notReady" && state.released));
  // What is wrong with one sandbox is its own and no reason to serve none.
  const failed = (sandbox: Sandbox) => (error: unknown) =>
    ports.log("sandbox is not recovered whole", { sandbox: sandbox.id, error: messageOf(error) });
  await Promise.all(pending.map((sandbox) => recoverSandbox(ports, sandbox).catch(failed(sandbox))));
  await ports.store.durable();
}

/** One transaction: nothing of the last boot lives, and nothing may look as if it did, whenever we are killed. */
async function recoverFromReboot({ store, sandboxes, containers, network, paths, now }: RecoverPorts): Promise<void> {
  const at = now();
  const copies = new Records(paths.exits);
  const ended = await Promise.all(
    containers
      .list()
      .filter(isAlive)
      .map(async (container) => containers.updated(endedBefore(container, await copies.exit(container.id), at))),
  );
  const dead: Change[] = sandboxes
    .list()
    .filter(({ state }) => state.phase === "ready")
    .map((sandbox) =>
      sandboxes.updated({ ...sandbox, state: { phase: "notReady", reason: "Rebooted", released: false } }),
    );
  const debts = network.list().flatMap(({ sandboxId }) => network.abandoned(sandboxId));
  await store.save([store.bootRecorded(), ...ended, ...dead, ...debts]);
  // What they told is stored now; no monitor lives that would remove them.
  for (const name of await readdir(paths.exits).catch(() => [])) await rm(join(paths.exits, name), { force: true });
}

/** As its monitor had recorded it, when the daemon had not stored that before the reboot. */
function endedBefore(container: Container, record: ExitRecord | undefined, now: Temporal.Instant): Container {
  if (record?.state !== "exited" || record.id !== container.id) {
    return endedUnseen(container, "Rebooted", "the machine was rebooted", now);
  }
  const finishedAt = Temporal.Instant.fromEpochNanoseconds(record.exitedNs);
  return exited(hasRun(container, record.startedNs), { ...record, isKilledByUs: false }, finishedAt);
}

async function recoverSandbox(ports: RecoverPorts, sandbox: Sandbox): Promise<void> {
  const { monitors, sandboxService, containers, log } = ports;
  const known = await monitors.adoptAll(sandbox.id);
  if (known !== undefined) await endUnknown(ports, sandbox, known);
  for (const container of containers.ofSandbox(sandbox.id)) recoverContainer(ports, sandbox, container, known);
  if (sandbox.state.phase === "creating" || sandbox.state.phase === "discarded") {
    log("undoing a sandbox that was not finished", { sandbox: sandbox.id });
    sandboxService.discard(sandbox);
  } else if (known === undefined) {
    await endLost(ports, sandbox.id);
  } else {
    checkSandbox(ports, sandbox, known);
  }
}

/** Before anybody may ask, if that can be. */
async function endLost(ports: RecoverPorts, id: string): Promise<void> {
  await monitorLost(ports, id).catch((error: unknown) => {
    ports.log("containers of a lost monitor may be left", { sandbox: id, error: messageOf(error) });
    ports.discards.add(`containers of lost monitor ${id}`, () => monitorLost(ports, id));
  });
}

function checkSandbox(
  { sandboxService, monitors, paths, mountinfo }: RecoverPorts,
  sandbox: Sandbox,
  known: readonly MonitoredContainer[],
): void {
  const { id, config } = sandbox;
  const pause = known.find((container) => container.id === id);
  const isPauseGone = pause === undefined ? config.namespaces.pid === "pod" : pause.state === "exited";
  if (isPauseGone) sandboxService.lost(id, "PauseExited");
  else if (pause !== undefined) monitors.watch(id, id, pause);
  const pinned = mountinfo.includes(` ${paths.netns(id)} `);
  if (config.namespaces.network === "pod" && !pinned) sandboxService.lost(id, "NamespaceLost");
}

/** `known` is undefined when the monitor is gone: `monitorLost` settles what lived then. */
function recoverContainer(
  { containerService, monitors, now, log }: RecoverPorts,
  sandbox: Sandbox,
  container: Container,
  known: readonly MonitoredContainer[] | undefined,
): void {
  const { id, state } = container;
  if (state.phase === "creating" || state.phase === "discarded") {
    log("undoing a container that was not finished", { container: id });
    containerService.discard(container);
    return;
  }
  const seen = known?.find((one) => one.id === id);
  if (known === undefined) return;
  if (seen?.state === "exited") {
    containerService.ended(id, seen);
  } else if (isAlive(container) && seen === undefined) {
    containerService.settle(endedUnseen(container, "Unknown", "its monitor does not know it", now()));
  } else if (seen !== undefined && isAlive(container)) {
    monitors.watch(id, sandbox.id, seen);
    if (state.phase === "created" && !state.collected) containerService.awaitCollection(id);
    if (state.phase === "starting") rollForward(containerService, container, seen, log);
  }
}

/** The start was promised durably; whether it was begun, the monitor says. A runtime that hangs holds up nobody else. */
function rollForward(
  service: ContainerService,
  container: Container,
  seen: MonitoredContainer,
  log: RecoverPorts["log"],
): void {
  const { state } = container;
  if (state.phase !== "starting") return;
  if (seen.state === "running") {
    const startedAt = Temporal.Instant.fromEpochNanoseconds(seen.startedNs);
    service.settle({ ...container, state: { ...state, phase: "running", startedAt } });
    return;
  }
  log("starting a container whose start was cut short", { container: container.id });
  service.start(container.id, AbortSignal.timeout(120_000)).catch((error: unknown) => {
    log("the container could not be started", { container: container.id, error: messageOf(error) });
  });
}

/** A container that has no row was never answered to anybody: the daemon was killed before it could store it. */
async function endUnknown(
  { operations, handlers, containers, monitors, log }: RecoverPorts,
  sandbox: Sandbox,
  known: readonly MonitoredContainer[],
): Promise<void> {
  const entry = handlers.findOf(sandbox);
  const strangers = known.filter(({ id }) => id !== sandbox.id && containers.get(id) === undefined);
  for (const { id } of strangers) {
    log("ending a container that has no row", { sandbox: sandbox.id, container: id });
    try {
      if (entry !== undefined) await deleteProcess(operations, entry.handler, id);
      await monitors.forget(sandbox.id, id);
    } catch (error) {
      log("a container that has no row may be left", { container: id, error: messageOf(error) });
    }
  }
}

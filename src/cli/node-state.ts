import { stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { DebtSnapshot } from "../cni/debts.ts";
import { ContainerStore } from "../container/container-store.ts";
import type { OperationInFlight } from "../launcher/launcher.ts";
import type { LauncherSupervisor } from "../launcher/launcher-supervisor.ts";
import type { Retry } from "../lib/retries.ts";
import { pickOciVersion } from "../oci/handler.ts";
import { SandboxStore } from "../sandbox/sandbox-store.ts";
import type { Trouble } from "../sandbox/troubles.ts";
import type { OpenNode } from "./open-node.ts";
import { nacelleVersion } from "./version-command.ts";

/** A creation in flight: what it is at, since when, and how many calls wait for it. */
export interface CreationState {
  readonly kind: "sandbox" | "container";
  readonly name: string;
  readonly stage: string;
  readonly seconds: number;
  readonly waiters: number;
}

interface LauncherState {
  /** 0 while it is being restarted. */
  readonly pid: number;
  readonly operations: readonly OperationInFlight[];
  /** Owners of operations of an earlier launcher that cannot die. */
  readonly stuck: readonly string[];
}

interface HandlerState {
  readonly name: string;
  readonly isDefault: boolean;
  readonly path: string;
  readonly ociVersion: string;
  /** Empty when it can be used. */
  readonly problem: string;
}

/** What is known before the node is open, too. */
export interface ServerIdentity {
  readonly version: string;
  readonly pid: number;
  /** RFC 3339. */
  readonly started: string;
  readonly listen: string;
  readonly root: string;
  readonly runDir: string;
  /** "starting", "ready", "stopping" or what else the process does with the node. */
  readonly phase: string;
}

/** The whole answer of `GET /state` once the node is open. Nothing in it is secret. */
export interface NodeState extends ServerIdentity {
  readonly epoch: number;
  readonly network: {
    readonly ready: boolean;
    readonly reason: string;
    readonly message: string;
    readonly skipped: readonly { readonly name: string; readonly reason: string }[];
  };
  readonly handlers: readonly HandlerState[];
  /** Counts by phase, those that are not listed included. */
  readonly sandboxes: Readonly<Record<string, number>>;
  readonly containers: Readonly<Record<string, number>>;
  readonly monitors: number;
  /** Containers that something keeps from going on. */
  readonly troubles: readonly Trouble[];
  readonly creations: readonly CreationState[];
  /** Starts, stops and removals in flight: "stop <id>". */
  readonly calls: readonly string[];
  readonly launcher: LauncherState;
  readonly pulls: readonly string[];
  readonly debts: readonly DebtSnapshot[];
  /** How many listen to GetContainerEvents. */
  readonly eventClients: number;
  /** What is still to be freed. */
  readonly discards: readonly Retry[];
  readonly disk: {
    readonly images: { readonly count: number; readonly bytes: number; readonly inodes: number };
    /** The database with its log. */
    readonly stateBytes: number;
  };
}

const LAUNCHER_MS = 500;

/** Who serves, from the start of the process on. */
export function serverIdentity(
  config: { readonly listen: string; readonly root: string; readonly runDir: string },
  phase: string,
): ServerIdentity {
  const { listen, root, runDir } = config;
  const started = Temporal.Instant.fromEpochMilliseconds(Math.round(performance.timeOrigin)).toString();
  return { version: nacelleVersion, pid: process.pid, started, listen, root, runDir, phase };
}

/** Everything that an operator may want to know of an open node, from memory but for the size of two files. */
export async function nodeState({ parts, daemon, images }: OpenNode, phase: string): Promise<NodeState> {
  const { config, store, launcher } = parts;
  const sandboxes = new SandboxStore(store).list();
  const containers = new ContainerStore(store).list();
  const [launcherNow, stateBytes] = await Promise.all([launcherState(launcher), sizeOfState(config.root)]);
  const { bytes, inodes } = images.service.usage;
  return {
    ...serverIdentity(config, phase),
    epoch: store.epoch,
    network: { ...daemon.network.status(), skipped: daemon.network.skipped() },
    handlers: handlerStates(parts.handlers),
    sandboxes: countBy(sandboxes.map(({ state }) => state.phase)),
    containers: countBy(containers.map(({ state }) => state.phase)),
    monitors: daemon.monitors.count,
    troubles: daemon.monitors.troubles.list(),
    creations: creations(daemon),
    calls: [...daemon.sandboxes.inFlight().endings, ...daemon.containers.inFlight().calls],
    launcher: launcherNow,
    pulls: images.service.pulling(),
    debts: daemon.debts.snapshot(),
    eventClients: daemon.events.subscribers,
    discards: daemon.discards.snapshot(),
    disk: {
      images: { count: images.service.list().length, bytes, inodes },
      stateBytes,
    },
  };
}

function handlerStates(handlers: OpenNode["parts"]["handlers"]): readonly HandlerState[] {
  return handlers.list().map(({ handler: { name, path }, features, problem }) => {
    const ociVersion = problem === "" ? pickOciVersion(features) : "";
    return { name, isDefault: name === handlers.defaultName, path, ociVersion, problem };
  });
}

function creations({ sandboxes, containers }: OpenNode["daemon"]): readonly CreationState[] {
  const named = (
    kind: CreationState["kind"],
    flights: readonly (Omit<CreationState, "kind" | "name"> & { key: string })[],
  ) => flights.map(({ key, stage, seconds, waiters }) => ({ kind, name: plainName(key), stage, seconds, waiters }));
  return [...named("sandbox", sandboxes.inFlight().creations), ...named("container", containers.inFlight().creations)];
}

/** A flight's key as a person writes it: its parts are encoded for their slashes' sake. */
function plainName(key: string): string {
  return key.split("/").map(decodeURIComponent).join("/");
}

/** What the launcher does; of one that is being restarted nothing is known. */
export async function launcherState(launcher: LauncherSupervisor): Promise<LauncherState> {
  const waiting = new AbortController();
  const restarting = delay(LAUNCHER_MS, undefined, { signal: waiting.signal }).catch(() => undefined);
  const current = await Promise.race([launcher.current.catch(() => undefined), restarting]);
  waiting.abort();
  if (current === undefined) return { pid: 0, operations: [], stuck: [] };
  return { pid: current.pid, operations: current.snapshot(), stuck: current.stuck };
}

async function sizeOfState(root: string): Promise<number> {
  const names = ["state.db", "state.db-wal"];
  const sizes = await Promise.all(
    names.map((name) =>
      stat(join(root, name)).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** How often each occurs. */
export function countBy(phases: readonly string[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const phase of phases) counts[phase] = (counts[phase] ?? 0) + 1;
  return counts;
}

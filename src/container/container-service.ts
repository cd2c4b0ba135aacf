import { DomainError, messageOf, notFound } from "../lib/errors.ts";
import { type FlightControl, Flights, SingleFlight } from "../lib/flights.ts";
import { findId, newId } from "../lib/ids.ts";
import { KeyedLock, orAborted } from "../lib/keyed-lock.ts";
import type { Retries } from "../lib/retries.ts";
import type { MonitoredContainer } from "../monitor/protocol.ts";
import type { ContainerConfig, SandboxConfig } from "../oci/config.ts";
import { parseSignal } from "../oci/signal.ts";
import type { Handlers } from "../sandbox/handlers.ts";
import type { Monitors } from "../sandbox/monitors.ts";
import { startProcess } from "../sandbox/runtime-calls.ts";
import { requireReady, type Sandbox } from "../sandbox/sandbox.ts";
import type { Store } from "../state/store.ts";
import { type BuildPorts, buildContainer, type ContainerImages, planContainer } from "./build-container.ts";
import { type Container, isAlive, isListed, requirePhase } from "./container.ts";
import { type ContainerStore, containerName } from "./container-store.ts";
import { exited, startFailed } from "./ending.ts";
import { type ExecResult, execSync } from "./exec-sync.ts";
import { Exits } from "./exits.ts";
import { releaseContainer } from "./release-container.ts";
import { isSameContainer } from "./same-config.ts";
import { Stops } from "./stops.ts";

export interface ContainerServicePorts extends BuildPorts {
  readonly store: Store;
  readonly containers: ContainerStore;
  readonly images: ContainerImages;
  readonly handlers: Handlers;
  readonly monitors: Monitors;
  readonly sandboxes: {
    /** Listed ones, by id or unique prefix. */
    get(idOrPrefix: string): Sandbox;
    /** Any that has a row. */
    byId(id: string): Sandbox;
  };
  /** Directories of a cgroup in every hierarchy. */
  readonly cgroupDirs: (sandbox: Sandbox, id: string) => readonly string[];
  readonly discards: Retries;
  readonly now: () => Temporal.Instant;
  readonly log: (message: string, fields: Readonly<Record<string, string>>) => void;
}

interface Asked {
  readonly sandboxId: string;
  readonly config: ContainerConfig;
}

/** A created container whose creation no live call was told of is undone after this. */
const UNCOLLECTED_MS = 600_000;
const SIGKILL = 9;

/** Containers: created once per name, started once, ended once, whoever asks how often. */
export class ContainerService {
  readonly #ports: ContainerServicePorts;
  readonly #creations = new Flights<Asked>("container", (a, b) => isSameContainer(a.config, b.config));
  readonly #running = new SingleFlight();
  readonly #locks = new KeyedLock();
  readonly #exits = new Exits();
  /** Ends of processes whose creation is not stored yet. */
  readonly #early = new Map<string, MonitoredContainer>();
  readonly #stops: Stops;

  constructor(ports: ContainerServicePorts) {
    this.#ports = ports;
    this.#stops = new Stops({ kill: (id) => this.#kill(id), exits: this.#exits });
  }

  /** Resolves with the id of a created container; the answer is durable. A call for a name in flight joins it. */
  async create(
    sandboxIdOrPrefix: string,
    config: ContainerConfig,
    _sandbox: SandboxConfig | undefined,
    signal: AbortSignal,
  ): Promise<string> {
    const sandbox = requireReady(this.#ports.sandboxes.get(sandboxIdOrPrefix));
    this.#ports.handlers.require(sandbox.runtimeHandler);
    const asked = { sandboxId: sandbox.id, config };
    const key = containerName(sandbox.id, config);
    const id = await this.#creations.join(key, asked, (control) => this.#create(sandbox, asked, control), signal);
    await this.#collected(id);
    return id;
  }

  /** Starts a created container; one that runs already has been started by the call that this one repeats. */
  async start(idOrPrefix: string, signal: AbortSignal): Promise<void> {
    const { id } = this.get(idOrPrefix);
    await this.#running.run(`start ${id}`, () => this.#start(id), signal);
  }

  /** Stop signal, grace, kill; resolves when its end is stored. A later call with less patience moves the deadline. */
  async stop(idOrPrefix: string, graceMs: number, signal?: AbortSignal): Promise<void> {
    const container = this.#found(idOrPrefix);
    if (container === undefined || !isAlive(container)) return;
    const grace = container.state.phase === "created" ? 0 : graceMs;
    await this.#stops.stop(container.id, grace, () => this.#signal(container.id, container.stopSignal), signal);
    await this.#ports.store.durable();
  }

  async remove(idOrPrefix: string, signal?: AbortSignal): Promise<void> {
    const container = this.#found(idOrPrefix);
    if (container !== undefined)
      await this.#running.run(`remove ${container.id}`, () => this.#remove(container.id), signal);
  }

  get(idOrPrefix: string): Container {
    const container = this.#found(idOrPrefix);
    if (container === undefined) throw notFound("container", idOrPrefix);
    return container;
  }

  list(): readonly Container[] {
    return this.#ports.containers.list().filter(isListed);
  }

  describe(idOrPrefix: string): Readonly<Record<string, unknown>> {
    const { id, sandboxId, state, config } = this.get(idOrPrefix);
    const { paths } = this.#ports;
    const pid = state.phase === "running" || state.phase === "starting" || state.phase === "created" ? state.pid : 0;
    return { pid, sandboxID: sandboxId, state, bundle: paths.bundle(id), writableLayer: paths.writable(id), config };
  }

  async execSync(
    idOrPrefix: string,
    command: readonly string[],
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<ExecResult> {
    const container = requirePhase(this.get(idOrPrefix), "running");
    return execSync(
      this.#ports,
      this.#ports.sandboxes.byId(container.sandboxId),
      container,
      command,
      timeoutMs,
      signal,
    );
  }

  async reopenLog(idOrPrefix: string, signal: AbortSignal): Promise<void> {
    const container = requirePhase(this.get(idOrPrefix), "running");
    if (container.logPath === "") throw new DomainError("failedPrecondition", `container ${container.id} has no log`);
    await orAborted(this.#ports.monitors.require(container.sandboxId).reopenLog(container.id), signal);
  }

  inFlight(): { readonly creations: ReturnType<Flights<Asked>["snapshot"]>; readonly calls: readonly string[] } {
    return { creations: this.#creations.snapshot(), calls: this.#running.keys() };
  }

  async abortCreations(sandboxId: string): Promise<void> {
    const reason = new DomainError("failedPrecondition", `sandbox ${sandboxId} is being stopped`);
    await this.#creations.abort((key) => key.startsWith(`${sandboxId}/`), reason);
  }

  async killAll(sandboxId: string): Promise<void> {
    const alive = this.#ports.containers.ofSandbox(sandboxId).filter(isAlive);
    await Promise.all(alive.map(({ id }) => this.stop(id, 0)));
  }

  async removeAll(sandboxId: string): Promise<void> {
    const all = this.#ports.containers.ofSandbox(sandboxId);
    await Promise.all(all.map(({ id }) => this.#running.run(`remove ${id}`, () => this.#remove(id))));
  }

  /** Its first process has ended, so its parent says: memory and waiters at once, the row behind, then the acknowledgement. */
  ended(id: string, exit: MonitoredContainer): void {
    const container = this.#ports.containers.get(id);
    if (container?.state.phase === "creating") {
      this.#early.set(id, exit);
      return;
    }
    const finishedAt = Temporal.Instant.fromEpochNanoseconds(exit.exitedNs);
    if (container !== undefined) this.settle(exited(container, exit, exit.oomKills, finishedAt));
    this.#acknowledge(id, container?.sandboxId);
  }

  /** Stores a state that the world has reached by itself. The same state as before: nothing to do. */
  settle(container: Container): void {
    const { store, containers } = this.#ports;
    if (containers.get(container.id)?.state === container.state) return;
    store.observe([containers.updated(container)]);
    if (isAlive(container)) return;
    this.#killRest(container);
    this.#exits.ended(container.id);
  }

  /** Takes up the freeing of a container whose creation has failed, was cut short or never collected. */
  discard(container: Container): void {
    const { store, containers, discards } = this.#ports;
    const discarded: Container = { ...container, state: { phase: "discarded" } };
    store.commit([containers.updated(discarded), ...containers.released(container)]);
    discards.add(`container ${container.id}`, () =>
      this.#running.run(`remove ${container.id}`, () => this.#remove(container.id)),
    );
  }

  /** Undoes a created container in ten minutes unless somebody is told of it or starts it. */
  awaitCollection(id: string): void {
    const timer = setTimeout(() => {
      const container = this.#ports.containers.get(id);
      if (container?.state.phase === "created" && !container.state.collected) this.discard(container);
    }, UNCOLLECTED_MS);
    timer.unref();
  }

  async #create(sandbox: Sandbox, asked: Asked, control: FlightControl): Promise<string> {
    const { store, containers, images, now } = this.#ports;
    const existing = this.#existing(asked);
    if (existing !== undefined) return existing;
    using image = images.acquire(asked.config.image.image);
    const container = planContainer({ id: newId(), sandbox, config: asked.config, image, createdAt: now() });
    control.stage.enter("storing what is about to be made");
    images.retain(container.id, container.imageId);
    store.commit([...containers.inserted(container)]);
    try {
      await store.durable();
      const { user, process } = await buildContainer(this.#ports, { sandbox, container, image }, control);
      control.stage.enter("storing the container");
      control.signal.throwIfAborted();
      requireReady(this.#ports.sandboxes.byId(sandbox.id));
      const collected = control.isAwaited();
      const { pid, startTime } = process;
      const created: Container = { ...container, user, state: { phase: "created", pid, startTime, collected } };
      store.commit([containers.updated(created)]);
      const early = this.#early.get(container.id);
      if (early !== undefined) this.ended(container.id, early);
      await store.durable();
      if (!collected) this.awaitCollection(container.id);
      return container.id;
    } catch (error) {
      this.discard(container);
      throw error;
    } finally {
      this.#early.delete(container.id);
    }
  }

  #existing({ sandboxId, config }: Asked): string | undefined {
    const holder = this.#ports.containers.holder(sandboxId, config);
    if (holder === undefined) return undefined;
    const same = isSameContainer(holder.config, config);
    if (same && holder.state.phase === "created") return holder.id;
    if (holder.state.phase === "created" && !holder.state.collected) {
      this.discard(holder);
      return undefined;
    }
    throw new DomainError(
      "alreadyExists",
      `container ${holder.id} holds the name ${containerName(sandboxId, config)} and is ${holder.state.phase}` +
        `${same ? "" : " with a different configuration"}; remove it or raise metadata.attempt`,
      { fields: { id: holder.id } },
    );
  }

  /** Somebody is about to be told of it: durably listed before the answer. */
  async #collected(id: string): Promise<void> {
    const { store, containers } = this.#ports;
    const container = containers.get(id);
    if (container?.state.phase !== "created" || container.state.collected) return;
    await store.save([containers.updated({ ...container, state: { ...container.state, collected: true } })]);
  }

  async #start(id: string): Promise<void> {
    const { store, containers, monitors, handlers, now } = this.#ports;
    const intent = await this.#intendStart(id);
    if (intent === undefined) return;
    const sandbox = this.#ports.sandboxes.byId(intent.sandboxId);
    try {
      const { handler } = handlers.require(sandbox.runtimeHandler);
      const startedAt = await startProcess(monitors.require(sandbox.id), handler, id);
      using _guard = await this.#locks.acquire(id);
      const current = containers.get(id);
      // It may have run and ended meanwhile; its end has been stored then.
      if (current?.state.phase !== "starting") return;
      store.commit([containers.updated({ ...current, state: { ...current.state, phase: "running", startedAt } })]);
    } catch (error) {
      const current = containers.get(id);
      if (current !== undefined) this.settle(startFailed(current, messageOf(error), now()));
      await this.#kill(id);
      throw error;
    } finally {
      await store.durable();
    }
  }

  async #intendStart(id: string): Promise<Container | undefined> {
    using _guard = await this.#locks.acquire(id);
    const container = this.get(id);
    if (container.state.phase === "running") return undefined;
    // "starting" without a start in flight is what recovery rolls forward.
    if (container.state.phase === "starting") return container;
    const { pid, startTime } = requirePhase(container, "created").state;
    requireReady(this.#ports.sandboxes.byId(container.sandboxId));
    const state = { phase: "starting", pid, startTime, startedAt: this.#ports.now() } as const;
    await this.#ports.store.save([this.#ports.containers.updated({ ...container, state })]);
    return { ...container, state };
  }

  async #remove(id: string): Promise<void> {
    const { store, containers } = this.#ports;
    const container = containers.get(id);
    if (container === undefined) return;
    if (isAlive(container)) await this.stop(id, 0);
    await releaseContainer(this.#ports, containers.get(id) ?? container);
    await store.save([...containers.deleted(container)], { essential: true });
    this.#exits.forget(id);
  }

  async #signal(id: string, signal: string): Promise<void> {
    const container = this.#ports.containers.get(id);
    if (container === undefined || !isAlive(container)) return;
    await this.#ports.monitors.find(container.sandboxId)?.signal(id, parseSignal(signal));
  }

  async #kill(id: string): Promise<void> {
    const container = this.#ports.containers.get(id);
    const monitor = container === undefined ? undefined : this.#ports.monitors.find(container.sandboxId);
    await monitor?.signal(id, SIGKILL);
  }

  /** Without a PID namespace of its own a container's other processes would live on under pause. */
  #killRest(container: Container): void {
    const { operations, cgroupDirs, log } = this.#ports;
    if (container.config.security.namespaces.pid === "container") return;
    const sandbox = this.#ports.sandboxes.byId(container.sandboxId);
    operations
      .perform([{ op: "killCgroup", paths: cgroupDirs(sandbox, container.id) }], {
        owner: container.id,
        what: "killing what is left in the container's cgroup",
        deadlineMs: 10_000,
      })
      .catch((error: unknown) => log("processes may be left", { container: container.id, error: messageOf(error) }));
  }

  #acknowledge(id: string, sandboxId: string | undefined): void {
    const { store, monitors, log } = this.#ports;
    if (sandboxId === undefined) return;
    // Only when the row is on disk: until then the monitor is the one that remembers.
    store
      .durable()
      .then(() => monitors.find(sandboxId)?.ackExit(id))
      .catch((error: unknown) => log("exit is not acknowledged", { container: id, error: messageOf(error) }));
  }

  #found(idOrPrefix: string): Container | undefined {
    const { containers } = this.#ports;
    const visible = containers.list().filter(({ state }) => state.phase !== "creating" && state.phase !== "discarded");
    const id = findId(
      "container",
      idOrPrefix,
      visible.map((container) => container.id),
    );
    return id === undefined ? undefined : containers.get(id);
  }
}

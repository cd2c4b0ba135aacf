import { DomainError, messageOf, notFound } from "../lib/errors.ts";
import { SingleFlight } from "../lib/flights.ts";
import { findId } from "../lib/ids.ts";
import { orAborted } from "../lib/or-aborted.ts";
import type { Retries } from "../lib/retries.ts";
import { Turns } from "../lib/turns.ts";
import type { SeenExit } from "../monitor/monitored-container.ts";
import type { MonitorSession } from "../monitor/session.ts";
import type { ContainerConfig, SandboxConfig } from "../oci/config.ts";
import type { PodEvents } from "../sandbox/pod-events.ts";
import { reopenLog, startProcess } from "../sandbox/runtime-calls.ts";
import { requireReady } from "../sandbox/sandbox.ts";
import { type Container, isAlive, isListed, requirePhase } from "./container.ts";
import { ContainerAnnouncements } from "./container-announcements.ts";
import { ContainerCreations, type CreationPorts } from "./container-creations.ts";
import { exited, hasRun, startFailed } from "./ending.ts";
import { type ExecResult, execSync } from "./exec-sync.ts";
import { Exits } from "./exits.ts";
import { tellLoss } from "./lost-output.ts";
import { releaseContainer } from "./release-container.ts";
import { type ExecSession, openAttach, openExec, type SessionStreams } from "./sessions.ts";
import { type SignalPorts, Signals } from "./signals.ts";
import { Stops } from "./stops.ts";

export interface ContainerServicePorts extends CreationPorts, Pick<SignalPorts, "cgroupDirs" | "thaw" | "log"> {
  readonly execs: { readonly maxConcurrent: number; readonly maxOutputBytes: number };
  readonly discards: Retries;
  readonly events: PodEvents;
}

/** Containers: created once per name, started once, ended once, whoever asks how often. */
export class ContainerService {
  readonly #ports: ContainerServicePorts;
  readonly #creations: ContainerCreations;
  readonly #running = new SingleFlight();
  readonly #exits = new Exits();
  readonly #announced: ContainerAnnouncements;
  readonly #signals: Signals;
  readonly #stops: Stops;
  readonly #execs: Turns;

  constructor(ports: ContainerServicePorts) {
    this.#ports = ports;
    const { maxConcurrent } = ports.execs;
    // One sandbox's execs that hang leave room for the probes of others.
    const perOwner = Math.ceil(maxConcurrent / 2);
    this.#execs = new Turns({ atOnce: maxConcurrent, perOwner, waiting: 4_096, what: "execs" });
    this.#creations = new ContainerCreations(ports, {
      discard: (container) => this.discard(container),
      ended: (id, exit) => this.ended(id, exit),
      stored: (container) => this.#announced.tell(container),
    });
    this.#signals = new Signals(ports);
    this.#stops = new Stops({
      exits: this.#exits,
      cannotEnd: (id) => ports.monitors.troubles.cannotEnd(id),
      kill: async (id) => this.#signals.kill(this.get(id)),
      report: (id, error) => this.#signals.report(id, error),
    });
    this.#announced = new ContainerAnnouncements(ports);
  }

  /** Resolves with the id of a created container; the answer is durable. A call for a name in flight joins it. */
  create(
    sandboxId: string,
    config: ContainerConfig,
    _sandboxConfig: SandboxConfig | undefined,
    signal: AbortSignal,
  ): Promise<string> {
    return this.#creations.create(sandboxId, config, signal);
  }

  /** A created container that nobody was told of is undone in ten minutes unless somebody collects it. */
  awaitCollection(id: string): void {
    this.#creations.awaitCollection(id);
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
    await this.#stops.stop(container.id, grace, () => this.#signals.ask(container.id), signal);
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
    const { id, sandboxId, state, limits, config } = this.get(idOrPrefix);
    const { paths } = this.#ports;
    const pid = state.phase === "running" || state.phase === "starting" || state.phase === "created" ? state.pid : 0;
    const places = { bundle: paths.bundle(id), writableLayer: paths.writable(id) };
    return { pid, sandboxID: sandboxId, state, limits, ...places, config };
  }

  async execSync(
    idOrPrefix: string,
    command: readonly string[],
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<ExecResult> {
    const container = requirePhase(this.get(idOrPrefix), "running");
    using _turn = await this.#execs.take(container.sandboxId, signal);
    return execSync(
      this.#ports,
      this.#ports.sandboxes.byId(container.sandboxId),
      container,
      command,
      timeoutMs,
      signal,
    );
  }

  /** Runs a command and carries its streams; resolves when it runs. Disposing of the session kills it. */
  async exec(idOrPrefix: string, request: ExecSession, signal: AbortSignal): Promise<MonitorSession> {
    const container = requirePhase(this.get(idOrPrefix), "running");
    // For the start alone: how many run is the monitor's limit, and a session may last for days.
    using _turn = await this.#execs.take(container.sandboxId, signal);
    return await openExec(this.#ports, this.#ports.sandboxes.byId(container.sandboxId), container, request, signal);
  }

  /** The streams of its first process. Disposing of the session leaves that alone. */
  async attach(idOrPrefix: string, streams: SessionStreams, signal: AbortSignal): Promise<MonitorSession> {
    return await openAttach(this.#ports, this.get(idOrPrefix), streams, signal);
  }

  async reopenLog(idOrPrefix: string, signal: AbortSignal): Promise<void> {
    const container = requirePhase(this.get(idOrPrefix), "running");
    if (container.logPath === "") throw new DomainError("failedPrecondition", `container ${container.id} has no log`);
    await orAborted(reopenLog(this.#ports.monitors.require(container.sandboxId), container.id), signal);
  }

  inFlight(): { readonly creations: ReturnType<ContainerCreations["inFlight"]>; readonly calls: readonly string[] } {
    return { creations: this.#creations.inFlight(), calls: this.#running.keys() };
  }

  async abortCreations(sandboxId: string): Promise<void> {
    const reason = new DomainError("failedPrecondition", `sandbox ${sandboxId} is being stopped`);
    await this.#creations.abort(sandboxId, reason);
    const discarded = this.#ports.containers.ofSandbox(sandboxId).filter(({ state }) => state.phase === "discarded");
    await Promise.all(discarded.map(({ id }) => this.#running.run(`remove ${id}`, () => this.#remove(id))));
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
  ended(id: string, exit: SeenExit): void {
    const container = this.#ports.containers.get(id);
    if (container?.state.phase === "creating") {
      this.#creations.endedEarly(id, exit);
      return;
    }
    if (container === undefined) return;
    if (isAlive(container)) tellLoss(exit, this.#ports.log);
    const finishedAt = Temporal.Instant.fromEpochNanoseconds(exit.exitedNs);
    const ran = hasRun(container, exit.startedNs);
    this.settle(ran);
    this.settle(exited(ran, { ...exit, isKilledByUs: this.#signals.hasKilled(id) }, finishedAt));
    this.#acknowledge(id, container.sandboxId);
  }

  /** Stores a state that the world has reached by itself. The same state as before, or gone already: nothing to do. */
  settle(container: Container): void {
    const { store, containers } = this.#ports;
    const current = containers.get(container.id);
    if (current === undefined || current.state === container.state) return;
    // What a call has committed and not told yet, since it waits for the disk, comes before what follows from it.
    this.#announced.tell(current);
    store.observe([containers.updated(container)]);
    this.#announced.tell(container);
    if (isAlive(container)) return;
    this.#exits.ended(container.id);
    this.#signals.killRest(container);
  }

  /** Takes up the freeing of a container whose creation has failed, was cut short or never collected. */
  discard(container: Container): void {
    const { store, containers, discards } = this.#ports;
    const discarded: Container = { ...container, state: { phase: "discarded" } };
    if (containers.get(container.id) !== undefined)
      store.observe([containers.updated(discarded), ...containers.released(container)]);
    this.#announced.tell(container);
    discards.add(`container ${container.id}`, () =>
      this.#running.run(`remove ${container.id}`, () => this.#remove(container.id)),
    );
  }

  async #start(id: string): Promise<void> {
    const { store, containers, monitors, handlers } = this.#ports;
    const intent = await this.#intendStart(id);
    if (intent === undefined) return;
    const sandbox = this.#ports.sandboxes.byId(intent.sandboxId);
    try {
      const { handler } = handlers.requireOf(sandbox);
      const startedAt = await startProcess(monitors.require(sandbox.id), handler, id);
      const current = containers.get(id);
      // It may have run and ended meanwhile; its end has been stored then.
      if (current?.state.phase !== "starting") return;
      store.commit([containers.updated({ ...current, state: { ...current.state, phase: "running", startedAt } })]);
    } catch (error) {
      throw await this.#startFailed(id, error);
    } finally {
      await store.durable().finally(() => this.#announced.tell(intent));
    }
  }

  /** It never runs, unless its monitor is lost: how it ended is told with that then. Resolves with what to tell the caller. */
  async #startFailed(id: string, error: unknown): Promise<unknown> {
    const { containers, monitors, now } = this.#ports;
    const current = containers.get(id);
    if (current === undefined || !isAlive(current)) {
      const message = `container ${id} ended while it was started: ${messageOf(error)}`;
      return new DomainError("failedPrecondition", message, { cause: error });
    }
    if (monitors.find(current.sandboxId) === undefined) return error;
    this.settle(startFailed(current, messageOf(error), now()));
    await this.#signals.kill(current).catch((cause: unknown) => this.#signals.report(id, cause));
    return error;
  }

  async #intendStart(id: string): Promise<Container | undefined> {
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
    this.#signals.forget(id);
    this.#announced.tell(container);
  }

  #acknowledge(id: string, sandboxId: string): void {
    const { store, monitors, log } = this.#ports;
    // Only when the row is on disk: until then the monitor is the one that remembers.
    store
      .durable()
      .then(() => monitors.find(sandboxId)?.ackExit(id))
      .catch((error: unknown) => log("exit is not acknowledged", { container: id, error: messageOf(error) }));
  }

  #found(idOrPrefix: string): Container | undefined {
    const { containers } = this.#ports;
    const whole = containers.get(idOrPrefix);
    if (whole !== undefined) return isKnown(whole) ? whole : undefined;
    const visible = containers.list().filter(isKnown);
    const id = findId(
      "container",
      idOrPrefix,
      visible.map((container) => container.id),
    );
    return id === undefined ? undefined : containers.get(id);
  }
}

/** Somebody may have been told of its id. */
function isKnown({ state }: Container): boolean {
  return state.phase !== "creating" && state.phase !== "discarded";
}

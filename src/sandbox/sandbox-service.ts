import type { Socket } from "node:net";
import { DomainError, failedPrecondition, notFound } from "../lib/errors.ts";
import { type FlightControl, Flights, SingleFlight } from "../lib/flights.ts";
import { findId, newId } from "../lib/ids.ts";
import type { Retries } from "../lib/retries.ts";
import { isSameValue } from "../lib/same-value.ts";
import type { SandboxConfig } from "../oci/config.ts";
import type { Store } from "../state/store.ts";
import { type BuildPorts, buildSandbox } from "./build-sandbox.ts";
import { dialSandbox } from "./dial.ts";
import type { Handlers } from "./handlers.ts";
import type { Monitors } from "./monitors.ts";
import type { Pause } from "./pause.ts";
import { Announcements, type Life, type PodEvents } from "./pod-events.ts";
import { type ReleasePorts, releaseSandbox } from "./release-sandbox.ts";
import { describe, isListed, limitsOf, type NotReadyReason, type Sandbox, sandboxName } from "./sandbox.ts";
import type { SandboxNetwork } from "./sandbox-network.ts";
import type { SandboxStore } from "./sandbox-store.ts";
import { usersOf } from "./users.ts";

/** What a sandbox needs done to its containers; the container service does it. */
export interface ContainersOfSandbox {
  /** Ends creations in flight, and waits until they are undone. */
  abortCreations(sandboxId: string): Promise<void>;
  /** Kills those that live, and resolves when their ends are stored. */
  killAll(sandboxId: string): Promise<void>;
  removeAll(sandboxId: string): Promise<void>;
}

export interface SandboxServicePorts
  extends Omit<BuildPorts, "network" | "pause">,
    Omit<ReleasePorts, "network" | "pause" | "monitors"> {
  readonly store: Store;
  readonly sandboxes: SandboxStore;
  readonly monitors: BuildPorts["monitors"] & ReleasePorts["monitors"] & Pick<Monitors, "require">;
  readonly network: SandboxNetwork;
  readonly pause: Pause;
  readonly handlers: Handlers;
  readonly containers: ContainersOfSandbox;
  /** Throws `invalidArgument` for what this host cannot give such a sandbox. */
  readonly validate: (config: SandboxConfig) => void;
  /** What is still to be freed, tried until it is. */
  readonly discards: Retries;
  readonly events: PodEvents;
  readonly now: () => Temporal.Instant;
}

interface Asked {
  readonly config: SandboxConfig;
  readonly runtimeHandler: string;
}

/** Sandboxes: created once per name, however often they are asked for; stopped and removed from any state. */
export class SandboxService {
  readonly #ports: SandboxServicePorts;
  readonly #creations = new Flights<Asked>("sandbox", isSameValue);
  readonly #endings = new SingleFlight();
  /** What was lost of sandboxes while they were made. */
  readonly #lostEarly = new Map<string, NotReadyReason>();
  readonly #announced = new Announcements();
  /** Those that are being stopped: told as stopped only after all that runs in them has ended. */
  readonly #emptying = new Set<string>();

  constructor(ports: SandboxServicePorts) {
    this.#ports = ports;
    for (const sandbox of ports.sandboxes.list()) this.#announced.assume(sandbox.id, this.#lifeOf(sandbox));
  }

  /** Resolves with the id of a ready sandbox; the answer is durable. A call for a name in flight joins it. */
  async run(config: SandboxConfig, runtimeHandler: string, signal: AbortSignal): Promise<string> {
    const { handlers, validate } = this.#ports;
    const { usersProblem } = handlers.require(runtimeHandler);
    validate(config);
    if (usersOf(config) !== undefined && usersProblem !== "") {
      throw failedPrecondition(`config.linux.security_context.namespace_options.userns_options: ${usersProblem}`);
    }
    const asked = { config, runtimeHandler };
    return this.#creations.join(sandboxName(config), asked, (control) => this.#create(asked, control), signal);
  }

  /** Ends everything that runs in it and frees what it holds. Absent: nothing to do. Concurrent calls share one run. */
  async stop(idOrPrefix: string, signal?: AbortSignal): Promise<void> {
    const id = this.#find(idOrPrefix);
    if (id !== undefined) await this.#endings.run(`stop ${id}`, () => this.#stop(id), signal);
  }

  /** Stops it, removes its containers, and forgets it. Absent: nothing to do. */
  async remove(idOrPrefix: string, signal?: AbortSignal): Promise<void> {
    const id = this.#find(idOrPrefix);
    if (id !== undefined) await this.#endings.run(`remove ${id}`, () => this.#remove(id), signal);
  }

  get(idOrPrefix: string): Sandbox {
    const id = this.#find(idOrPrefix);
    const sandbox = id === undefined ? undefined : this.#ports.sandboxes.get(id);
    if (sandbox === undefined) throw notFound("sandbox", idOrPrefix);
    return sandbox;
  }

  /** Any that has a row, listed or not; throws when there is none. */
  byId(id: string): Sandbox {
    const sandbox = this.#ports.sandboxes.get(id);
    if (sandbox === undefined) throw notFound("sandbox", id);
    return sandbox;
  }

  list(): readonly Sandbox[] {
    return this.#ports.sandboxes.list().filter(isListed);
  }

  /** A connection to a port of its network, whose owner destroys it; see `dialSandbox`. */
  async dial(idOrPrefix: string, port: number, signal: AbortSignal): Promise<Socket> {
    return await dialSandbox(this.#ports, this.get(idOrPrefix), port, signal);
  }

  describe(idOrPrefix: string): Readonly<Record<string, unknown>> {
    const sandbox = this.get(idOrPrefix);
    const { id, state, runtimeHandler, config } = sandbox;
    const { paths, network, handlers } = this.#ports;
    const attachment = network.get(id);
    return {
      state,
      runtimeHandler: handlers.find(runtimeHandler)?.handler ?? runtimeHandler,
      networkNamespace: config.namespaces.network === "node" ? "" : paths.netns(id),
      network: attachment?.networkName ?? "",
      cniResult: attachment?.state.phase === "attached" ? attachment.state.result : undefined,
      monitorSocket: paths.monitorSocket(id),
      files: paths.sandbox(id),
      ...limitsOf(sandbox),
      config,
    };
  }

  /** Creations in flight with their stage, and stops and removals. */
  inFlight(): { readonly creations: ReturnType<Flights<Asked>["snapshot"]>; readonly endings: readonly string[] } {
    return { creations: this.#creations.snapshot(), endings: this.#endings.keys() };
  }

  /** It is no longer what was promised: pause, a pin or its monitor is gone. Its containers are the caller's concern. */
  lost(id: string, reason: NotReadyReason): void {
    const { store, sandboxes } = this.#ports;
    const sandbox = sandboxes.get(id);
    if (sandbox?.state.phase === "creating") this.#lostEarly.set(id, reason);
    if (sandbox?.state.phase !== "ready") return;
    this.#tell(sandbox);
    store.observe([sandboxes.updated({ ...sandbox, state: { phase: "notReady", reason, released: false } })]);
    this.#tell(sandbox);
  }

  /** Takes up the freeing of a sandbox whose creation has failed or was cut short. A full disk does not keep its name. */
  discard(sandbox: Sandbox): void {
    const { store, sandboxes, discards, containers } = this.#ports;
    const discarded: Sandbox = { ...sandbox, state: { phase: "discarded" } };
    store.observe([sandboxes.updated(discarded), ...sandboxes.released(sandbox)]);
    this.#tell(sandbox);
    discards.add(`sandbox ${sandbox.id}`, async () => {
      await containers.removeAll(sandbox.id);
      await releaseSandbox(this.#ports, discarded);
      store.commit([...sandboxes.deleted(discarded)], { essential: true });
    });
  }

  async #create(asked: Asked, control: FlightControl): Promise<string> {
    const { store, sandboxes, network, paths, now, cgroups } = this.#ports;
    const existing = this.#existing(asked);
    if (existing !== undefined) return existing;
    const id = newId();
    const cgroupParent = cgroups.parentOf(asked.config);
    const sandbox: Sandbox = { id, ...asked, createdAt: now(), cgroupParent, state: { phase: "creating" }, ips: [] };
    const hasNetwork = asked.config.namespaces.network === "pod";
    const ledger = hasNetwork ? network.intent(sandbox, paths.netns(id)) : [];
    control.stage.enter("storing what is about to be made");
    store.commit([...sandboxes.inserted(sandbox), ...ledger]);
    try {
      await store.durable();
      const ips = await buildSandbox(this.#ports, sandbox, control);
      this.#requireWhole(id);
      control.stage.enter("storing the sandbox");
      store.commit([sandboxes.updated({ ...sandbox, ips, state: { phase: "ready" } })]);
      await store.durable();
      this.#tell(sandbox);
      return id;
    } catch (error) {
      this.discard(sandbox);
      throw error;
    } finally {
      this.#lostEarly.delete(id);
    }
  }

  #requireWhole(id: string): void {
    const reason = this.#lostEarly.get(id);
    if (reason === undefined) return;
    throw new DomainError("unavailable", `sandbox ${id} was lost while it was made (${reason}); try again`, {
      fields: { id, reason },
    });
  }

  /** The ready sandbox of this name and configuration, or undefined when the name is free. */
  #existing({ config, runtimeHandler }: Asked): string | undefined {
    const { sandboxes } = this.#ports;
    const id = sandboxes.holder(config);
    const holder = id === undefined ? undefined : sandboxes.get(id);
    if (id === undefined || holder === undefined) return undefined;
    const same = isSameValue(holder.config, config) && holder.runtimeHandler === runtimeHandler;
    if (holder.state.phase === "ready" && same) return id;
    throw new DomainError(
      "alreadyExists",
      `sandbox ${id} holds the name ${sandboxName(config)} and is ${describe(holder.state)}` +
        `${same ? "" : " with a different configuration"}; remove it or raise metadata.attempt`,
      { fields: { id } },
    );
  }

  async #stop(id: string): Promise<void> {
    const { store, sandboxes, containers } = this.#ports;
    const sandbox = await this.#leaveReady(id);
    if (sandbox === undefined || (sandbox.state.phase === "notReady" && sandbox.state.released)) return;
    await containers.abortCreations(id);
    await containers.killAll(id);
    this.#emptying.delete(id);
    this.#tell(sandbox);
    await releaseSandbox(this.#ports, sandbox);
    const reason = sandbox.state.phase === "notReady" ? sandbox.state.reason : "Stopped";
    const stopped: Sandbox = { ...sandbox, state: { phase: "notReady", reason, released: true } };
    await store.save([sandboxes.updated(stopped)], { essential: true });
  }

  /** Durably not ready before anything of it is touched: a crash in between must not show it ready. */
  async #leaveReady(id: string): Promise<Sandbox | undefined> {
    const { store, sandboxes } = this.#ports;
    const sandbox = sandboxes.get(id);
    if (sandbox?.state.phase !== "ready") return sandbox;
    const stopped: Sandbox = { ...sandbox, state: { phase: "notReady", reason: "Stopped", released: false } };
    this.#tell(sandbox);
    store.commit([sandboxes.updated(stopped)], { essential: true });
    this.#emptying.add(id);
    await store.durable();
    return stopped;
  }

  async #remove(id: string): Promise<void> {
    const { store, sandboxes, containers } = this.#ports;
    await this.#endings.run(`stop ${id}`, () => this.#stop(id));
    await containers.removeAll(id);
    const sandbox = sandboxes.get(id);
    if (sandbox === undefined) return;
    await store.save(sandboxes.deleted(sandbox), { essential: true });
    this.#tell(sandbox);
  }

  /** Tells what memory shows of it and nobody was told of yet. */
  #tell(last: Sandbox): void {
    const { sandboxes, events } = this.#ports;
    const sandbox = sandboxes.get(last.id);
    this.#announced.tell(last.id, this.#lifeOf(sandbox), (type) => events.emit(type, last.id, sandbox ?? last));
  }

  #lifeOf(sandbox: Sandbox | undefined): Life | undefined {
    if (sandbox === undefined || !isListed(sandbox)) return undefined;
    return sandbox.state.phase === "ready" || this.#emptying.has(sandbox.id) ? "running" : "ended";
  }

  #find(idOrPrefix: string): string | undefined {
    const whole = this.#ports.sandboxes.get(idOrPrefix);
    if (whole !== undefined) return isListed(whole) ? whole.id : undefined;
    return findId("sandbox", idOrPrefix, listedIds(this.#ports.sandboxes.list()));
  }
}

function* listedIds(sandboxes: readonly Sandbox[]): Generator<string> {
  for (const sandbox of sandboxes) if (isListed(sandbox)) yield sandbox.id;
}

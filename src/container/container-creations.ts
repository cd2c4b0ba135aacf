import { DomainError } from "../lib/errors.ts";
import { type FlightControl, Flights } from "../lib/flights.ts";
import { newId } from "../lib/ids.ts";
import type { SeenExit } from "../monitor/monitored-container.ts";
import type { ContainerConfig } from "../oci/config.ts";
import { requireReady, type Sandbox } from "../sandbox/sandbox.ts";
import type { Store } from "../state/store.ts";
import { type BuildPorts, buildContainer } from "./build-container.ts";
import { type Container, imagesOf } from "./container.ts";
import { type ContainerStore, containerName } from "./container-store.ts";
import { type ContainerImages, holdImages } from "./held-images.ts";
import { requireTarget } from "./pid-target.ts";
import { planContainer } from "./plan-container.ts";
import { isSameContainer } from "./same-config.ts";

export interface CreationPorts extends BuildPorts {
  readonly store: Store;
  readonly containers: ContainerStore;
  readonly images: ContainerImages;
  readonly sandboxes: {
    /** Listed ones, by id or unique prefix. */
    get(idOrPrefix: string): Sandbox;
    /** Any that has a row. */
    byId(id: string): Sandbox;
  };
  readonly now: () => Temporal.Instant;
}

/** What becomes of a container is the service's. */
export interface CreationEvents {
  readonly discard: (container: Container) => void;
  readonly ended: (id: string, exit: SeenExit) => void;
  /** It is durably created, and listed if somebody can be told of it. */
  readonly stored: (container: Container) => void;
}

interface Asked {
  readonly sandboxId: string;
  readonly config: ContainerConfig;
}

/** A created container whose creation no live call was told of is undone after this. */
const UNCOLLECTED_MS = 600_000;

/** The making of containers, once per name however often it is asked for. */
export class ContainerCreations {
  readonly #ports: CreationPorts;
  readonly #events: CreationEvents;
  readonly #flights = new Flights<Asked>("container", (a, b) => isSameContainer(a.config, b.config));
  /** Ends of processes whose creation is not stored yet. */
  readonly #early = new Map<string, SeenExit>();

  constructor(ports: CreationPorts, events: CreationEvents) {
    this.#ports = ports;
    this.#events = events;
  }

  /** Resolves with the id of a created container; the answer is durable. A call for a name in flight joins it. */
  async create(sandboxIdOrPrefix: string, config: ContainerConfig, signal: AbortSignal): Promise<string> {
    const sandbox = requireReady(this.#ports.sandboxes.get(sandboxIdOrPrefix));
    this.#ports.handlers.requireOf(sandbox);
    const asked = { sandboxId: sandbox.id, config };
    const key = containerName(sandbox.id, config);
    const id = await this.#flights.join(key, asked, (control) => this.#create(sandbox, asked, control), signal);
    this.#collected(id);
    return id;
  }

  /** Ends the creations in a sandbox; each has handed what it made to `discard` when this resolves. */
  async abort(sandboxId: string, reason: DomainError): Promise<void> {
    await this.#flights.abort((key) => key.startsWith(`${sandboxId}/`), reason);
  }

  /** Its process has ended before its creation was stored: told once it is. */
  endedEarly(id: string, exit: SeenExit): void {
    this.#early.set(id, exit);
  }

  inFlight(): ReturnType<Flights<Asked>["snapshot"]> {
    return this.#flights.snapshot();
  }

  /** Undoes a created container in ten minutes unless somebody is told of it or starts it. */
  awaitCollection(id: string): void {
    const timer = setTimeout(() => {
      const container = this.#ports.containers.get(id);
      if (container?.state.phase === "created" && !container.state.collected) this.#events.discard(container);
    }, UNCOLLECTED_MS);
    timer.unref();
  }

  async #create(sandbox: Sandbox, asked: Asked, control: FlightControl): Promise<string> {
    const { store, containers, images, now } = this.#ports;
    const existing = this.#existing(asked);
    if (existing !== undefined) return existing;
    // Who waited for an older flight to end may find that the sandbox is being stopped.
    requireReady(this.#ports.sandboxes.byId(sandbox.id));
    using held = holdImages(images, asked.config);
    requireTarget(containers, sandbox.id, asked.config);
    const container = planContainer({ id: newId(), sandbox, config: asked.config, images: held, createdAt: now() });
    control.stage.enter("storing what is about to be made");
    store.commit([...containers.inserted(container)]);
    for (const imageId of imagesOf(container)) images.retain(container.id, imageId);
    try {
      await store.durable();
      const { user, process } = await buildContainer(this.#ports, { sandbox, container, images: held }, control);
      control.stage.enter("storing the container");
      control.signal.throwIfAborted();
      requireReady(this.#ports.sandboxes.byId(sandbox.id));
      const { pid, startTime } = process;
      // Not listed before it is answered: a kubelet that sees it after a crash, and was never told, raises the attempt.
      const created: Container = { ...container, user, state: { phase: "created", pid, startTime, collected: false } };
      store.commit([containers.updated(created)]);
      const early = this.#early.get(container.id);
      if (early !== undefined) this.#events.ended(container.id, early);
      await store.durable();
      this.#events.stored(container);
      this.awaitCollection(container.id);
      return container.id;
    } catch (error) {
      this.#events.discard(container);
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
      this.#events.discard(holder);
      return undefined;
    }
    throw new DomainError(
      "alreadyExists",
      `container ${holder.id} holds the name ${containerName(sandboxId, config)} and is ${holder.state.phase}` +
        `${same ? "" : " with a different configuration"}; remove it or raise metadata.attempt`,
      { fields: { id: holder.id } },
    );
  }

  /** Somebody is told of it in this turn: listed from now on. No sync, since no created container outlives the machine. */
  #collected(id: string): void {
    const { store, containers } = this.#ports;
    const container = containers.get(id);
    if (container?.state.phase !== "created" || container.state.collected) return;
    store.commit([containers.updated({ ...container, state: { ...container.state, collected: true } })]);
    this.#events.stored(container);
  }
}

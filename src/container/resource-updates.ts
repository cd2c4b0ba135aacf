import { failedPrecondition, messageOf } from "../lib/errors.ts";
import { orAborted } from "../lib/or-aborted.ts";
import { Turns } from "../lib/turns.ts";
import type { Resources } from "../oci/config.ts";
import { mergeResources, NO_RESOURCES, takenBack } from "../oci/merge-resources.ts";
import { limitsOf, requireReady, type Sandbox, type SandboxLimits } from "../sandbox/sandbox.ts";
import type { SandboxStore } from "../sandbox/sandbox-store.ts";
import type { Store } from "../state/store.ts";
import { type ApplyPorts, applyResources, type Change, checkedResources } from "./apply-resources.ts";
import { type Container, isAlive, type Limits, resourcesOf } from "./container.ts";
import type { ContainerStore } from "./container-store.ts";

export interface ResourceUpdatePorts extends ApplyPorts {
  readonly store: Store;
  readonly containers: ContainerStore;
  readonly sandboxes: SandboxStore;
  /** By id or unique prefix; throw `notFound`. */
  readonly find: (idOrPrefix: string) => Container;
  readonly findSandbox: (idOrPrefix: string) => Sandbox;
  readonly log: (message: string, fields: Readonly<Record<string, string>>) => void;
}

/** Runtimes at work for updates; a container has one at a time. */
const TURNS = { atOnce: 16, perOwner: 1, waiting: 4_096, what: "updates of containers" };

/**
 * Changes of a container's limits. The intent is durable before anything is changed, and a daemon that finds one applies
 * it again; a change that fails is taken back. So what is stored as applied is in force.
 */
export class ResourceUpdates {
  readonly #ports: ResourceUpdatePorts;
  readonly #turns = new Turns(TURNS);

  constructor(ports: ResourceUpdatePorts) {
    this.#ports = ports;
  }

  /** Resolves when the limits are in force and stored. Aborting ends the waiting, not the work. */
  async updateContainer(idOrPrefix: string, asked: Resources, signal: AbortSignal): Promise<void> {
    const { id } = this.#updatable(idOrPrefix);
    const turn = await this.#turns.take(id, signal);
    const work = this.#update(id, asked).finally(() => turn[Symbol.dispose]());
    await orAborted(work, signal);
  }

  /**
   * Remembers what a sandbox may use from now on; what is absent stays. Nothing is set: a client announces limits before
   * it changes the sandbox's cgroup, which is its own, and takes an error for a refusal.
   */
  async updateSandbox(idOrPrefix: string, asked: SandboxLimits): Promise<void> {
    const { store, sandboxes, findSandbox } = this.#ports;
    const sandbox = requireReady(findSandbox(idOrPrefix));
    const { overhead, resources } = limitsOf(sandbox);
    const limits = { overhead: asked.overhead ?? overhead, resources: asked.resources ?? resources };
    await store.save([sandboxes.updated({ ...sandbox, limits })]);
  }

  /** Applies again what a daemon before had promised. Resolves when all is done; what failed was logged and taken back. */
  async resume(): Promise<void> {
    const { containers, log } = this.#ports;
    const promised = containers.list().filter((one) => isAlive(one) && one.limits?.intended !== undefined);
    const patience = new AbortController();
    await Promise.all(
      promised.map(async ({ id }) => {
        try {
          using _turn = await this.#turns.take(id, patience.signal);
          const intended = containers.get(id)?.limits?.intended;
          if (intended === undefined) return;
          log("applying limits whose update was cut short", { container: id });
          await this.#apply(id, intended, false);
        } catch (error) {
          log("the limits are as they were", { container: id, error: messageOf(error) });
        }
      }),
    );
  }

  async #update(id: string, asked: Resources): Promise<void> {
    const { store, containers, host } = this.#ports;
    const container = this.#updatable(id);
    // An update that was cut short is part of what this one changes.
    const before = container.limits?.intended ?? resourcesOf(container);
    const intended = mergeResources(before, asked);
    checkedResources(intended, host);
    await store.save([containers.updated({ ...container, limits: { applied: resourcesOf(container), intended } })]);
    await this.#apply(id, intended, container.limits?.intended === undefined);
  }

  async #apply(id: string, intended: Resources, isFromInForce: boolean): Promise<void> {
    const container = this.#updatable(id);
    const applied = resourcesOf(container);
    try {
      await this.#change(container, { from: applied ?? NO_RESOURCES, to: intended, isFromInForce });
    } catch (error) {
      this.#updatable(id);
      await this.#takeBack(container, intended);
      throw error;
    }
    await this.#settle(id, { applied: intended });
  }

  /** Some of it may be in force. Taking it back is a promise like any other: a later daemon keeps it if this one cannot. */
  async #takeBack(container: Container, failed: Resources): Promise<void> {
    const { id } = container;
    const applied = resourcesOf(container);
    const intended = takenBack(applied, failed);
    await this.#settle(id, { applied, intended });
    try {
      await this.#change(container, { from: failed, to: intended, isFromInForce: false });
      await this.#settle(id, { applied });
    } catch (error) {
      this.#ports.log("limits of a failed update may be in force", { container: id, error: messageOf(error) });
    }
  }

  async #change(container: Container, change: Change): Promise<void> {
    await applyResources(this.#ports, this.#ports.findSandbox(container.sandboxId), container.id, change);
  }

  async #settle(id: string, limits: Limits): Promise<void> {
    const { store, containers } = this.#ports;
    const current = containers.get(id);
    // Removed meanwhile: there is nothing to say of it.
    if (current !== undefined) await store.save([containers.updated({ ...current, limits })]);
  }

  #updatable(idOrPrefix: string): Container {
    const container = this.#ports.find(idOrPrefix);
    if (isAlive(container)) return container;
    const { id, state } = container;
    throw failedPrecondition(`container ${id} is ${state.phase}: its resources cannot be updated any more`, { id });
  }
}

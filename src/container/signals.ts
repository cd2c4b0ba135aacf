import type { Operation, Operations } from "../launcher/operations.ts";
import { messageOf } from "../lib/errors.ts";
import { parseSignal } from "../oci/signal.ts";
import type { Monitors } from "../sandbox/monitors.ts";
import { signalProcess } from "../sandbox/runtime-calls.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { type Container, isAlive } from "./container.ts";
import type { ContainerStore } from "./container-store.ts";

export interface SignalPorts {
  readonly operations: Operations;
  readonly monitors: Pick<Monitors, "find" | "kill">;
  readonly containers: Pick<ContainerStore, "get">;
  readonly sandboxes: { byId(id: string): Sandbox };
  /** Directories of a cgroup in every hierarchy. */
  readonly cgroupDirs: (sandbox: Sandbox, id: string) => readonly string[];
  /** Lets the processes of a container run, whoever froze them. */
  readonly thaw: (sandbox: Sandbox, id: string) => readonly Operation[];
  readonly log: (message: string, fields: Readonly<Record<string, string>>) => void;
}

const SIGKILL = 9;
const KILL_REST_MS = 10_000;

/** What is sent to the processes of containers. */
export class Signals {
  readonly #ports: SignalPorts;
  readonly #killed = new Set<string>();

  constructor(ports: SignalPorts) {
    this.#ports = ports;
  }

  /** Sends the container's stop signal. Ended already: nothing to do. */
  async ask(id: string): Promise<void> {
    const container = this.#ports.containers.get(id);
    const monitor = container === undefined ? undefined : this.#ports.monitors.find(container.sandboxId);
    if (container === undefined || monitor === undefined || !isAlive(container)) return;
    await signalProcess(monitor, id, parseSignal(container.stopSignal));
  }

  /** Kills by its monitor; where that does not answer, by its process. Ended already: nothing to do. */
  async kill(container: Container): Promise<void> {
    const { id, sandboxId, state } = container;
    if (state.phase !== "created" && state.phase !== "starting" && state.phase !== "running") return;
    const { monitors } = this.#ports;
    if (this.#killed.has(id)) this.#thaw(container);
    this.#killed.add(id);
    const monitor = monitors.find(sandboxId);
    try {
      if (monitor !== undefined) return await signalProcess(monitor, id, SIGKILL);
    } catch (error) {
      this.report(id, error);
    }
    await monitors.kill(state);
  }

  /** What was killed before and lives may be frozen, by a checkpoint that hangs: with cgroup v1 nothing frozen dies. */
  #thaw({ id, sandboxId }: Container): void {
    const { operations, thaw, sandboxes } = this.#ports;
    const options = { owner: id, what: "letting a killed container run", deadlineMs: KILL_REST_MS };
    Promise.try(() => operations.perform(thaw(sandboxes.byId(sandboxId), id), options)).catch((error: unknown) =>
      this.report(id, error),
    );
  }

  /** Whether this daemon has killed it. */
  hasKilled(id: string): boolean {
    return this.#killed.has(id);
  }

  /** The container is gone. */
  forget(id: string): void {
    this.#killed.delete(id);
  }

  /** Without a PID namespace of its own an ended container's other processes would live on under pause. */
  killRest(container: Container): void {
    if (container.config.security.namespaces.pid === "container") return;
    const { operations, cgroupDirs, log, sandboxes } = this.#ports;
    const { id } = container;
    const what = "killing what is left in the container's cgroup";
    Promise.try(() => {
      const paths = cgroupDirs(sandboxes.byId(container.sandboxId), id);
      return operations.perform([{ op: "killCgroup", paths }], { owner: id, what, deadlineMs: KILL_REST_MS });
    }).catch((error: unknown) => log("processes may be left", { container: id, error: messageOf(error) }));
  }

  /** Tells that a signal could not be sent, unless that was because the container has ended. */
  report(id: string, error: unknown): void {
    const container = this.#ports.containers.get(id);
    if (container === undefined || !isAlive(container)) return;
    this.#ports.log("container is not signalled", { container: id, error: messageOf(error) });
  }
}

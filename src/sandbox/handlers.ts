import { driverOf } from "../cgroup/cgroup.ts";
import { DomainError, invalidArgument } from "../lib/errors.ts";
import type { HandlerFeatures, RuntimeHandler } from "../oci/handler.ts";
import type { Sandbox } from "./sandbox.ts";

export interface HandlerEntry {
  readonly handler: RuntimeHandler;
  readonly features: HandlerFeatures;
  /** Why it cannot be used, with the remedy; empty when it can. */
  readonly problem: string;
  /** Why no pod of it can have a user namespace; empty when one can. */
  readonly usersProblem: string;
  /** Its `exec` takes a cgroup below the container's. */
  readonly execCgroups: boolean;
}

/** The runtime handlers of the configuration and what was found out about each at start-up. */
export class Handlers {
  readonly #entries: ReadonlyMap<string, HandlerEntry>;
  readonly #defaultName: string;

  constructor(entries: readonly HandlerEntry[], defaultName: string) {
    this.#entries = new Map(entries.map((entry) => [entry.handler.name, entry]));
    this.#defaultName = defaultName;
  }

  get defaultName(): string {
    return this.#defaultName;
  }

  list(): readonly HandlerEntry[] {
    return [...this.#entries.values()];
  }

  /** By name, "" being the default one. Throws `invalidArgument` for an unknown name, `failedPrecondition` for one that cannot be used. */
  require(name: string): HandlerEntry {
    const entry = this.#entries.get(name === "" ? this.#defaultName : name);
    if (entry === undefined) {
      const known = [...this.#entries.keys()].join(", ");
      throw invalidArgument(
        `runtime_handler ${JSON.stringify(name.slice(0, 80))} is not configured; known are ${known}`,
      );
    }
    if (entry.problem !== "") throw new DomainError("failedPrecondition", entry.problem);
    return entry;
  }

  /** As `require`, but for freeing what exists: also when the handler has become unusable. Unknown: undefined. */
  find(name: string): HandlerEntry | undefined {
    return this.#entries.get(name === "" ? this.#defaultName : name);
  }

  /** As `require`, as it is spoken to for this sandbox and its containers. */
  requireOf(sandbox: HandledSandbox): HandlerEntry {
    return entryOf(this.require(sandbox.runtimeHandler), sandbox);
  }

  /** As `find`, as it is spoken to for this sandbox and its containers. */
  findOf(sandbox: HandledSandbox): HandlerEntry | undefined {
    const entry = this.find(sandbox.runtimeHandler);
    return entry && entryOf(entry, sandbox);
  }
}

type HandledSandbox = Pick<Sandbox, "runtimeHandler" | "cgroupParent">;

/** Each call says who makes the cgroups: runc before 1.1 does not remember what it was told at `create`. */
function entryOf(entry: HandlerEntry, { cgroupParent }: HandledSandbox): HandlerEntry {
  const systemdCgroup = cgroupParent !== undefined && driverOf(cgroupParent) === "systemd";
  return { ...entry, handler: { ...entry.handler, systemdCgroup } };
}

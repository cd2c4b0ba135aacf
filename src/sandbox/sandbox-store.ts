import type { SandboxConfig } from "../oci/config.ts";
import type { Change } from "../state/change.ts";
import { releaseName, reserveName } from "../state/change.ts";
import type { Store } from "../state/store.ts";
import type { Table } from "../state/table.ts";
import { type Sandbox, type SandboxLimits, type SandboxState, sandboxName } from "./sandbox.ts";

interface SandboxFixed {
  readonly config: SandboxConfig;
  readonly runtimeHandler: string;
  readonly createdAt: Temporal.Instant;
  readonly cgroupParent?: string;
}

interface SandboxRowState {
  readonly state: SandboxState;
  readonly ips: readonly string[];
  /** Absent in rows of sandboxes that were never updated. */
  readonly limits?: SandboxLimits;
}

const KIND = "sandbox";

/** Sandboxes as rows: reads from memory, and the changes that a transaction carries out. */
export class SandboxStore {
  readonly #store: Store;
  readonly #table: Table<SandboxFixed, SandboxRowState>;

  constructor(store: Store) {
    this.#store = store;
    this.#table = store.table<SandboxFixed, SandboxRowState>("sandboxes");
  }

  get(id: string): Sandbox | undefined {
    const row = this.#table.get(id);
    return row === undefined ? undefined : { id, ...row.fixed, ...row.state };
  }

  /** Oldest first, those that are not listed included. */
  list(): readonly Sandbox[] {
    return this.#table.list().map((row) => ({ id: row.id, ...row.fixed, ...row.state }));
  }

  /** The id that holds the configuration's name. */
  holder(config: SandboxConfig): string | undefined {
    return this.#store.holder(KIND, sandboxName(config));
  }

  inserted({ id, state, ips, limits, ...fixed }: Sandbox): readonly Change[] {
    return [
      this.#table.insert(id, fixed, rowState({ state, ips, limits })),
      reserveName(KIND, sandboxName(fixed.config), id),
    ];
  }

  updated({ id, state, ips, limits }: Sandbox): Change {
    return this.#table.update(id, rowState({ state, ips, limits }));
  }

  /** The row with its name. */
  deleted({ id, config }: Sandbox): readonly Change[] {
    return [this.#table.delete(id), ...this.released({ id, config })];
  }

  /** The name alone, if this sandbox still holds it. */
  released({ id, config }: Pick<Sandbox, "id" | "config">): readonly Change[] {
    return this.holder(config) === id ? [releaseName(KIND, sandboxName(config))] : [];
  }
}

function rowState({ state, ips, limits }: Pick<Sandbox, "state" | "ips"> & { limits: SandboxLimits | undefined }) {
  return limits === undefined ? { state, ips } : { state, ips, limits };
}

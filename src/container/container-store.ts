import type { ContainerConfig } from "../oci/config.ts";
import { type Change, releaseName, reserveName } from "../state/change.ts";
import type { Store } from "../state/store.ts";
import type { Table } from "../state/table.ts";
import type { Container, ContainerState, ContainerUser, Limits } from "./container.ts";

interface ContainerFixed {
  readonly sandboxId: string;
  readonly config: ContainerConfig;
  readonly createdAt: Temporal.Instant;
  readonly imageId: string;
  readonly imageRef: string;
  readonly imageMounts?: NonNullable<Container["imageMounts"]>;
  readonly logPath: string;
  readonly stopSignal: string;
}

interface ContainerRowState {
  readonly state: ContainerState;
  readonly user: ContainerUser;
  /** Absent in rows of containers that were never updated. */
  readonly limits?: Limits;
}

const KIND = "container";

/** The key that a kubelet's retry shares with the call it repeats. */
export function containerName(sandboxId: string, { metadata }: ContainerConfig): string {
  return [sandboxId, metadata.name, String(metadata.attempt)].map(encodeURIComponent).join("/");
}

/** Containers as rows: reads from memory, and the changes that a transaction carries out. */
export class ContainerStore {
  readonly #store: Store;
  readonly #table: Table<ContainerFixed, ContainerRowState>;

  constructor(store: Store) {
    this.#store = store;
    this.#table = store.table<ContainerFixed, ContainerRowState>("containers");
  }

  get(id: string): Container | undefined {
    const row = this.#table.get(id);
    return row === undefined ? undefined : { id, ...row.fixed, ...row.state };
  }

  /** Oldest first, those that are not listed included. */
  list(): readonly Container[] {
    return this.#table.list().map((row) => ({ id: row.id, ...row.fixed, ...row.state }));
  }

  ofSandbox(sandboxId: string): readonly Container[] {
    return this.list().filter((container) => container.sandboxId === sandboxId);
  }

  holder(sandboxId: string, config: ContainerConfig): Container | undefined {
    const id = this.#store.holder(KIND, containerName(sandboxId, config));
    return id === undefined ? undefined : this.get(id);
  }

  inserted(container: Container): readonly Change[] {
    const { id, state, user, limits, ...fixed } = container;
    return [
      this.#table.insert(id, fixed, rowState({ state, user, limits })),
      reserveName(KIND, containerName(container.sandboxId, container.config), id),
    ];
  }

  updated({ id, state, user, limits }: Container): Change {
    return this.#table.update(id, rowState({ state, user, limits }));
  }

  /** The row with its name. */
  deleted(container: Container): readonly Change[] {
    return [this.#table.delete(container.id), ...this.released(container)];
  }

  /** The name alone, if this container still holds it. */
  released({ id, sandboxId, config }: Container): readonly Change[] {
    const holds = this.holder(sandboxId, config)?.id === id;
    return holds ? [releaseName(KIND, containerName(sandboxId, config))] : [];
  }
}

function rowState({ state, user, limits }: Pick<Container, "state" | "user"> & { limits: Limits | undefined }) {
  return limits === undefined ? { state, user } : { state, user, limits };
}

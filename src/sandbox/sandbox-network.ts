import {
  type Attachment,
  attached,
  type DebtAttachment,
  intended,
  isDebt,
  owed,
  progressed,
  withoutNamespace,
} from "../cni/attachment.ts";
import { capabilityArgs } from "../cni/capability.ts";
import { addNetwork, deleteNetwork, isUndone } from "../cni/network.ts";
import type { NetworkConfig } from "../cni/network-config.ts";
import type { Operations } from "../launcher/operations.ts";
import { DomainError, messageOf } from "../lib/errors.ts";
import type { Turns } from "../lib/turns.ts";
import type { Change } from "../state/change.ts";
import type { Store } from "../state/store.ts";
import type { Table } from "../state/table.ts";
import type { Sandbox } from "./sandbox.ts";

type Fixed = Omit<Attachment, "netnsPath" | "state">;
type RowState = Pick<Attachment, "netnsPath" | "state">;

export interface SandboxNetworkPorts {
  readonly store: Store;
  readonly operations: Operations;
  /** The network of now, or throws `unavailable` saying why there is none. */
  readonly network: () => NetworkConfig;
  readonly timeoutMs: number;
  /** How many sandboxes are attached or detached at a time. */
  readonly turns: Turns;
  /** There is a debt that was none before: somebody has to pay it. */
  readonly onDebt: () => void;
  readonly log: (message: string, fields: Readonly<Record<string, string>>) => void;
}

/** How long StopPodSandbox fails for a failing DEL; after that the DEL is a debt and in nobody's way. */
const PATIENCE_MS = 30_000;
const UNPIN_MS = 60_000;

/**
 * The network ledger: an attachment is written before ADD begins and goes when DEL has succeeded. Whatever happens
 * in between, the address can be given back from the row alone.
 */
export class SandboxNetwork {
  readonly #ports: SandboxNetworkPorts;
  readonly #table: Table<Fixed, RowState>;
  /** When the first DEL of a sandbox that failed was begun, in this process. */
  readonly #failingSince = new Map<string, number>();

  constructor(ports: SandboxNetworkPorts) {
    this.#ports = ports;
    this.#table = ports.store.table<Fixed, RowState>("attachments");
  }

  /** The ledger row to be written with the sandbox's intent. Throws when there is no usable network. */
  intent(sandbox: Sandbox, netnsPath: string): readonly Change[] {
    const network = this.#ports.network();
    const { config } = sandbox;
    const { args, notices } = capabilityArgs({ ...config, dns: config.dns }, network.list);
    for (const notice of notices) this.#ports.log(notice, { sandbox: sandbox.id });
    const identity = { id: sandbox.id, ...config.metadata };
    const { netnsPath: path, state, ...fixed } = intended(network, identity, netnsPath, args);
    return [this.#table.insert(sandbox.id, fixed, { netnsPath: path, state })];
  }

  /** Runs ADD. The row is `attached` in memory and in the log when this resolves; the caller makes it durable. */
  async attach(sandboxId: string, signal: AbortSignal): Promise<readonly string[]> {
    const { store, operations, timeoutMs, turns } = this.#ports;
    const attachment = this.#require(sandboxId);
    using _turn = await turns.take(sandboxId, AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]));
    let current = attachment;
    const onProgress = (partial: Parameters<typeof progressed>[1]) => {
      current = progressed(current, partial);
      store.commit([this.#updated(current)]);
    };
    try {
      const options = { timeoutMs, undoTimeoutMs: timeoutMs, preferred: "ipv4", onProgress } as const;
      const result = await addNetwork(operations, attachment, options, signal);
      store.commit([this.#updated(attached(attachment, result.raw))]);
      return result.ips;
    } catch (error) {
      if (isUndone(error)) store.commit([this.#table.delete(sandboxId)], { essential: true });
      throw error;
    }
  }

  /**
   * Runs DEL with the stored values. Resolves with true when the namespace is needed no more: DEL has succeeded, or there
   * is no row. When it has failed for so long that it became a debt the answer is false: plugins find in the namespace
   * what else they have to undo (bridge its masquerading rules), so that it goes when the debt is paid.
   */
  async detach(sandboxId: string): Promise<boolean> {
    const { store, operations, timeoutMs, onDebt, turns } = this.#ports;
    const attachment = this.get(sandboxId);
    if (attachment === undefined) return true;
    if (isDebt(attachment)) return attachment.netnsPath === "";
    using _turn = await turns.take(sandboxId, AbortSignal.timeout(timeoutMs));
    const since = this.#failingSince.get(sandboxId) ?? performance.now();
    try {
      await deleteNetwork(operations, attachment, timeoutMs);
      store.commit([this.#table.delete(sandboxId)], { essential: true });
    } catch (error) {
      this.#failingSince.set(sandboxId, since);
      if (performance.now() - since < PATIENCE_MS) throw error;
      store.commit([this.#updated(owed(attachment, messageOf(error), Date.now()))], { essential: true });
      onDebt();
    }
    this.#failingSince.delete(sandboxId);
    return this.get(sandboxId) === undefined;
  }

  /** Turns what is attached into a debt without a namespace: the machine has rebooted, or the pin is gone. */
  abandoned(sandboxId: string): readonly Change[] {
    const attachment = this.get(sandboxId);
    if (attachment === undefined) return [];
    return [this.#updated(withoutNamespace(owed(attachment, "", Date.now())))];
  }

  get(sandboxId: string): Attachment | undefined {
    const row = this.#table.get(sandboxId);
    return row === undefined ? undefined : { ...row.fixed, ...row.state };
  }

  list(): readonly Attachment[] {
    return this.#table.list().map((row) => ({ ...row.fixed, ...row.state }));
  }

  debts(): readonly DebtAttachment[] {
    return this.list().filter(isDebt);
  }

  debt(sandboxId: string): DebtAttachment | undefined {
    const attachment = this.get(sandboxId);
    return attachment !== undefined && isDebt(attachment) ? attachment : undefined;
  }

  /** Runs DEL for a debt, then frees the namespace that was kept for it. */
  async pay(debt: DebtAttachment, signal: AbortSignal): Promise<void> {
    const { operations, timeoutMs } = this.#ports;
    const { sandboxId: owner, netnsPath: path } = debt;
    await deleteNetwork(operations, debt, timeoutMs, signal);
    if (path === "") return;
    await operations.perform([{ op: "unpin", path }], {
      owner,
      what: "freeing the network namespace",
      deadlineMs: UNPIN_MS,
    });
  }

  async paid({ sandboxId }: DebtAttachment): Promise<void> {
    await this.#ports.store.save([this.#table.delete(sandboxId)], { essential: true });
  }

  async failed(debt: DebtAttachment): Promise<void> {
    await this.#ports.store.save([this.#updated(debt)], { essential: true });
  }

  #updated({ sandboxId, netnsPath, state }: Attachment): Change {
    return this.#table.update(sandboxId, { netnsPath, state });
  }

  #require(sandboxId: string): Attachment {
    const attachment = this.get(sandboxId);
    if (attachment === undefined) throw new DomainError("internal", `sandbox ${sandboxId} has no network ledger row`);
    return attachment;
  }
}

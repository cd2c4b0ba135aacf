import { messageOf } from "../lib/errors.ts";
import { type DebtAttachment, nextAttemptMs, owed } from "./attachment.ts";

/** What paying needs of the ledger and of the network. */
export interface DebtPorts {
  /** The rows in debt, from memory. */
  debts(): readonly DebtAttachment[];
  /** One of them. */
  debt(sandboxId: string): DebtAttachment | undefined;
  /** Runs DEL under a deadline of its own. */
  pay(debt: DebtAttachment, signal: AbortSignal): Promise<void>;
  /** Drops the row of a debt that is paid. */
  paid(debt: DebtAttachment): Promise<void>;
  /** Writes down the failed attempt that `debt` holds. */
  failed(debt: DebtAttachment): Promise<void>;
  /** Milliseconds since the epoch. */
  nowMs(): number;
  /** 0 to 1. */
  jitter(): number;
}

/** One debt, for `nacelle status`. Times are milliseconds since the epoch. */
export interface DebtSnapshot {
  readonly sandboxId: string;
  readonly networkName: string;
  readonly sinceMs: number;
  readonly attempts: number;
  readonly lastError: string;
  readonly paying: boolean;
}

/** For metrics. */
export interface DebtCounters {
  /** Debts there are now. */
  readonly owed: number;
  /** DELs of this process that succeeded and failed. */
  readonly paid: number;
  readonly failed: number;
  /** Since when the oldest debt is owed; 0 without debts. */
  readonly oldestMs: number;
}

/** As long as this, a write of the ledger that failed is not tried again. */
const LEDGER_RETRY_MS = 5_000;
/** The longest delay a timer takes is far beyond what is ever asked for; a row from another clock might ask. */
const MAX_DELAY_MS = 10 * 60_000;

/**
 * Pays network debts in the background: each when it is due, few at a time, one DEL at a time for one sandbox.
 * A debt that cannot be paid holds up no other longer than its deadline.
 */
export class DebtPayer implements AsyncDisposable {
  readonly #ports: DebtPorts;
  readonly #concurrency: number;
  readonly #closing = new AbortController();
  /** Waiting to be due, by sandbox. */
  readonly #timers = new Map<string, NodeJS.Timeout>();
  /** Due, in order. */
  readonly #queue = new Set<string>();
  readonly #inFlight = new Map<string, Promise<void>>();
  #paid = 0;
  #failed = 0;

  constructor(ports: DebtPorts, concurrency = 4) {
    this.#ports = ports;
    this.#concurrency = concurrency;
  }

  /** Takes up debts that are new since the last call. */
  wake(): void {
    for (const debt of this.#ports.debts()) this.#plan(debt);
  }

  /**
   * Pays the debt of one sandbox now, or joins the attempt in flight; rejects as DEL does, and the debt stays.
   * Without a debt there is nothing to do.
   */
  async pay(sandboxId: string): Promise<void> {
    const debt = this.#ports.debt(sandboxId);
    await (this.#inFlight.get(sandboxId) ?? (debt && this.#start(debt)));
  }

  counters(): DebtCounters {
    const debts = this.#ports.debts();
    const oldestMs = debts.reduce((oldest, { state }) => Math.min(oldest, state.sinceMs), Number.POSITIVE_INFINITY);
    return { owed: debts.length, paid: this.#paid, failed: this.#failed, oldestMs: debts.length === 0 ? 0 : oldestMs };
  }

  /** Every debt, oldest first. */
  snapshot(): readonly DebtSnapshot[] {
    return this.#ports
      .debts()
      .map(({ sandboxId, networkName, state: { sinceMs, attempts, lastError } }) => {
        return { sandboxId, networkName, sinceMs, attempts, lastError, paying: this.#inFlight.has(sandboxId) };
      })
      .toSorted((a, b) => a.sinceMs - b.sinceMs);
  }

  /** Aborts what is in flight and waits for it; unpaid debts stay in the ledger. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    this.#queue.clear();
    await Promise.allSettled(this.#inFlight.values());
  }

  #plan({ sandboxId, state }: DebtAttachment, atLeastMs = 0): void {
    if (this.#closing.signal.aborted || this.#inFlight.has(sandboxId)) return;
    if (this.#timers.has(sandboxId) || this.#queue.has(sandboxId)) return;
    const now = this.#ports.nowMs();
    const delay = Math.max(atLeastMs, nextAttemptMs(state, now, this.#ports.jitter()) - now);
    const due = () => {
      this.#timers.delete(sandboxId);
      this.#queue.add(sandboxId);
      this.#pump();
    };
    this.#timers.set(sandboxId, setTimeout(due, Math.min(delay, MAX_DELAY_MS)).unref());
  }

  #pump(): void {
    for (const sandboxId of this.#queue) {
      if (this.#inFlight.size >= this.#concurrency) return;
      this.#queue.delete(sandboxId);
      const debt = this.#ports.debt(sandboxId);
      // The failure is in the ledger and in the counters; nobody waits for this attempt.
      if (debt !== undefined) this.#start(debt).catch(() => undefined);
    }
  }

  #start(debt: DebtAttachment): Promise<void> {
    const { sandboxId } = debt;
    clearTimeout(this.#timers.get(sandboxId));
    this.#timers.delete(sandboxId);
    this.#queue.delete(sandboxId);
    const attempt = this.#attempt(debt).finally(() => {
      this.#inFlight.delete(sandboxId);
      const left = this.#ports.debt(sandboxId);
      // Unchanged: the ledger could not be written, and the row says "due" still.
      if (left !== undefined) this.#plan(left, left.state === debt.state ? LEDGER_RETRY_MS : 0);
      this.#pump();
    });
    this.#inFlight.set(sandboxId, attempt);
    return attempt;
  }

  async #attempt(debt: DebtAttachment): Promise<void> {
    const { signal } = this.#closing;
    try {
      await this.#ports.pay(debt, signal);
    } catch (error) {
      // Given up because the daemon ends: that says nothing about the network.
      if (signal.aborted) throw error;
      this.#failed++;
      await this.#ports.failed(owed(debt, messageOf(error), this.#ports.nowMs()));
      throw error;
    }
    await this.#ports.paid(debt);
    this.#paid++;
  }
}

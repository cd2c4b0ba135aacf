import { failedPrecondition, invalidArgument } from "../lib/errors.ts";
import type { JsonObject } from "./json-object.ts";
import type { CniVersion, NetworkConfig } from "./network-config.ts";

/**
 * intent ──attached──▶ attached ──owed──▶ debt ──paid──▶ (gone)
 *   │ ▲ progressed                         ▲ │ ▲ owed (failed again)
 *   │ └──────┘                             │ └─┘
 *   └──────────────────owed────────────────┘
 */
export type AttachmentState =
  /** ADD may have begun. `partial`: the result of the last plugin that succeeded. */
  | { readonly phase: "intent"; readonly partial?: JsonObject }
  | { readonly phase: "attached"; readonly result: JsonObject }
  | DebtState;

/** DEL has still to succeed. Times are milliseconds since the epoch. */
export interface DebtState {
  readonly phase: "debt";
  /** The last result known, whole or partial: without it some plugins remove nothing. */
  readonly result?: JsonObject;
  readonly sinceMs: number;
  readonly lastAttemptMs: number;
  /** DELs that failed. */
  readonly attempts: number;
  readonly lastError: string;
}

/**
 * A row of the network ledger: all that DEL needs, durable before ADD begins, as plain JSON values.
 * Everything but `netnsPath` and `state` stays as it was written.
 */
export interface Attachment {
  readonly sandboxId: string;
  /** Empty once the namespace is gone for good, as after a reboot. */
  readonly netnsPath: string;
  readonly ifName: string;
  readonly networkName: string;
  readonly cniVersion: CniVersion;
  /** The configuration list's text. */
  readonly config: string;
  /** One absolute path for each plugin of the list. */
  readonly pluginPaths: readonly string[];
  readonly binDirs: readonly string[];
  /** CNI_ARGS. */
  readonly args: string;
  readonly capabilityArgs: JsonObject;
  readonly state: AttachmentState;
}

/** A row whose DEL is due. */
export interface DebtAttachment extends Attachment {
  readonly state: DebtState;
}

/** Who the sandbox is, for CNI_ARGS. */
export interface SandboxIdentity {
  readonly id: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 5 * 60_000;
const CALLERS_ERROR_MS = 30_000;

/** CNI_ARGS as plugins for Kubernetes expect them. Throws `invalidArgument` for a value that would add a pair of its own. */
export function cniArgs({ id, namespace, name, uid }: SandboxIdentity): string {
  const pairs = [
    ["IgnoreUnknown", "1"],
    ["K8S_POD_NAMESPACE", namespace],
    ["K8S_POD_NAME", name],
    ["K8S_POD_INFRA_CONTAINER_ID", id],
    ["K8S_POD_UID", uid],
  ] as const;
  for (const [key, value] of pairs) {
    if (/[;\0\n]/.test(value)) throw invalidArgument(`${key} may not contain ";" or a line break`, { key });
  }
  return pairs.map(([key, value]) => `${key}=${value}`).join(";");
}

/** The row to make durable before the first ADD. Throws as `cniArgs` does. */
export function intended(
  { list, pluginPaths, binDirs }: NetworkConfig,
  sandbox: SandboxIdentity,
  netnsPath: string,
  capabilityArgs: JsonObject,
): Attachment {
  return {
    sandboxId: sandbox.id,
    netnsPath,
    ifName: "eth0",
    networkName: list.name,
    cniVersion: list.cniVersion,
    config: list.text,
    pluginPaths,
    binDirs,
    args: cniArgs(sandbox),
    capabilityArgs,
    state: { phase: "intent" },
  };
}

/** Plugin `k` has succeeded and others follow. */
export function progressed(attachment: Attachment, partial: JsonObject): Attachment {
  requirePhase(attachment, "intent");
  return { ...attachment, state: { phase: "intent", partial } };
}

/** The whole chain has succeeded. */
export function attached(attachment: Attachment, result: JsonObject): Attachment {
  requirePhase(attachment, "intent");
  return { ...attachment, state: { phase: "attached", result } };
}

/** DEL is due: it has failed (`error` says how; counted) or has not been tried yet (`error` is empty). */
export function owed(attachment: Attachment, error: string, nowMs: number): DebtAttachment {
  const { state } = attachment;
  const result = knownResult(attachment);
  const before = state.phase === "debt" ? state : { sinceMs: nowMs, attempts: 0, lastError: "" };
  return {
    ...attachment,
    state: {
      phase: "debt",
      ...(result === undefined ? {} : { result }),
      sinceMs: before.sinceMs,
      lastAttemptMs: nowMs,
      attempts: before.attempts + (error === "" ? 0 : 1),
      lastError: error === "" ? before.lastError : error,
    },
  };
}

/** The machine has rebooted, or the namespace is gone: DEL runs with an empty CNI_NETNS from now on. */
export function withoutNamespace<A extends Attachment>(attachment: A): A {
  return { ...attachment, netnsPath: "" };
}

/** True for rows whose DEL is due. */
export function isDebt(attachment: Attachment): attachment is DebtAttachment {
  return attachment.state.phase === "debt";
}

/** What DEL is given as `prevResult`. */
export function knownResult({ state }: Attachment): JsonObject | undefined {
  return state.phase === "intent" ? state.partial : state.result;
}

/**
 * True while a failing DEL is still an error for whoever stops the sandbox; after the first 30 s it is a debt
 * that is paid in the background and keeps nobody from removing the sandbox.
 */
export function isCallersError({ sinceMs }: DebtState, nowMs: number): boolean {
  return nowMs >= sinceMs && nowMs - sinceMs < CALLERS_ERROR_MS;
}

/**
 * When a debt is due again, in milliseconds since the epoch: at once before the first failure, then after
 * 1 s, 2 s, … 5 min, shortened by up to a half by `jitter` (0 to 1) so that debts of one cause spread out.
 * A clock that was set back postpones nothing beyond that.
 */
export function nextAttemptMs({ attempts, lastAttemptMs }: DebtState, nowMs: number, jitter: number): number {
  if (attempts === 0) return Math.min(lastAttemptMs, nowMs);
  const longest = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempts - 1, 30));
  const delay = longest * (1 - jitter / 2);
  return Math.min(lastAttemptMs, nowMs) + delay;
}

function requirePhase({ sandboxId, state }: Attachment, phase: AttachmentState["phase"]): void {
  if (state.phase === phase) return;
  throw failedPrecondition(`network attachment of sandbox ${sandboxId} is ${state.phase}, not ${phase}`, { sandboxId });
}

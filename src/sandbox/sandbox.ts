import { failedPrecondition } from "../lib/errors.ts";
import type { Resources, SandboxConfig } from "../oci/config.ts";

/** Why a sandbox is no longer ready; shown in verbose status and by the command line. */
export type NotReadyReason = "Stopped" | "PauseExited" | "NamespaceLost" | "MonitorLost" | "Rebooted";

/**
 * creating ──ready──▶ ready ──stop, loss, reboot──▶ notReady ──remove──▶ (gone)
 *     └───failed, cut short───▶ discarded ──everything freed──▶ (gone)
 *
 * A discarded one is never listed and holds no name: it is only what is still to be freed.
 */
export type SandboxState =
  | { readonly phase: "creating" }
  | { readonly phase: "ready" }
  | { readonly phase: "discarded" }
  | {
      readonly phase: "notReady";
      readonly reason: NotReadyReason;
      /** What it still holds in the kernel is freed: StopPodSandbox has ended well. */
      readonly released: boolean;
    };

/** What the client says that the sandbox may use; it sets them on the cgroup parent, which is its own. */
export interface SandboxLimits {
  readonly overhead: Resources | undefined;
  readonly resources: Resources | undefined;
}

export interface Sandbox {
  /** 64 lower-case hex digits. */
  readonly id: string;
  readonly config: SandboxConfig;
  /** The handler that was asked for: "" is the default one. */
  readonly runtimeHandler: string;
  readonly createdAt: Temporal.Instant;
  /** Where its cgroups are: as the configuration was when it was made, which a later one does not move. */
  readonly cgroupParent?: string;
  /** Absent: never updated, those of `config` stand. */
  readonly limits?: SandboxLimits;
  readonly state: SandboxState;
  /** Primary first; empty for host network or before attachment. */
  readonly ips: readonly string[];
}

/** The latest that were announced. */
export function limitsOf({ config, limits }: Sandbox): SandboxLimits {
  return limits ?? { overhead: config.overhead, resources: config.resources };
}

/** Only what a client may see: its creation has finished. */
export function isListed(sandbox: Sandbox): boolean {
  return sandbox.state.phase === "ready" || sandbox.state.phase === "notReady";
}

export function requireReady(sandbox: Sandbox): Sandbox {
  if (sandbox.state.phase === "ready") return sandbox;
  throw failedPrecondition(`sandbox ${sandbox.id} is ${describe(sandbox.state)}, not ready`, { id: sandbox.id });
}

export function describe(state: SandboxState): string {
  return state.phase === "notReady" ? `not ready (${state.reason})` : state.phase;
}

/** The key that a kubelet's retry shares with the call it repeats. */
export function sandboxName(config: SandboxConfig): string {
  const { name, namespace, uid, attempt } = config.metadata;
  return [name, namespace, uid, String(attempt)].map(encodeURIComponent).join("/");
}

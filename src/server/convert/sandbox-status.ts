import type { NamespaceOptions } from "../../oci/config.ts";
import type { Sandbox } from "../../sandbox/sandbox.ts";
import type { NamespaceMode__Output } from "../generated/runtime/v1/NamespaceMode.ts";
import type { NamespaceOption } from "../generated/runtime/v1/NamespaceOption.ts";
import type { PodSandbox } from "../generated/runtime/v1/PodSandbox.ts";
import type { PodSandboxFilter__Output } from "../generated/runtime/v1/PodSandboxFilter.ts";
import type { PodSandboxState__Output } from "../generated/runtime/v1/PodSandboxState.ts";
import type { PodSandboxStatus } from "../generated/runtime/v1/PodSandboxStatus.ts";
import { choice } from "./field.ts";
import { byPrefix } from "./id.ts";
import { hasLabels } from "./label-selector.ts";
import { toNanoseconds } from "./timestamp.ts";

const modes = {
  pod: "POD",
  container: "CONTAINER",
  node: "NODE",
  target: "TARGET",
} as const satisfies Record<NamespaceOptions["pid"], NamespaceMode__Output>;

const states = { SANDBOX_READY: "SANDBOX_READY", SANDBOX_NOTREADY: "SANDBOX_NOTREADY" } as const;

export function fromSandboxStatus(sandbox: Sandbox): PodSandboxStatus {
  const [ip = "", ...others] = sandbox.ips;
  return {
    ...fromSandbox(sandbox),
    network: { ip, additionalIps: others.map((other) => ({ ip: other })) },
    // Without these a kubelet makes a sandbox on the host's network anew at every sync.
    linux: { namespaces: { options: fromNamespaces(sandbox.config.namespaces) } },
  };
}

export function fromSandbox(sandbox: Sandbox): PodSandbox {
  const { metadata, labels, annotations } = sandbox.config;
  return {
    id: sandbox.id,
    metadata,
    state: stateOf(sandbox),
    createdAt: toNanoseconds(sandbox.createdAt),
    labels,
    annotations,
    runtimeHandler: sandbox.runtimeHandler,
  };
}

function stateOf(sandbox: Sandbox): PodSandboxState__Output {
  switch (sandbox.state.phase) {
    case "ready":
      return "SANDBOX_READY";
    case "creating":
    case "discarded":
    case "notReady":
      return "SANDBOX_NOTREADY";
  }
}

function fromNamespaces({ network, pid, ipc, targetId, users }: NamespaceOptions): NamespaceOption {
  const options = { network: modes[network], pid: modes[pid], ipc: modes[ipc], targetId };
  if (users === undefined || users === "node") return options;
  return { ...options, usernsOptions: { mode: "POD", uids: [users.uids], gids: [users.gids] } };
}

/** Those that every condition of the filter holds for, in their order. */
export function filterSandboxes(
  sandboxes: readonly Sandbox[],
  filter: PodSandboxFilter__Output | null,
): readonly Sandbox[] {
  if (filter === null) return sandboxes;
  const wanted = filter.state === null ? undefined : choice("filter.state.state", filter.state.state, states);
  const named = filter.id === "" ? sandboxes : byPrefix("filter.id", filter.id, sandboxes, ({ id }) => id);
  return named.filter(
    (sandbox) =>
      (wanted === undefined || stateOf(sandbox) === wanted) && hasLabels(sandbox.config.labels, filter.labelSelector),
  );
}

import type { ContainerConfig } from "../oci/config.ts";
import type { NamespaceChoices } from "../oci/spec/input.ts";
import type { Paths } from "./paths.ts";
import type { Sandbox } from "./sandbox.ts";
import { sandboxHostname } from "./sandbox-files.ts";

/** The namespaces that are pinned for a sandbox, or the host's; its PID namespace is a process's and not among them. */
function pinned(paths: Paths, { id, config }: Sandbox): Omit<NamespaceChoices, "pid"> {
  return {
    network: config.namespaces.network === "node" ? "host" : paths.netns(id),
    ipc: config.namespaces.ipc === "node" ? "host" : paths.inSandbox(id, "ipc"),
    uts: sandboxHostname(config) === undefined ? "host" : paths.inSandbox(id, "uts"),
  };
}

/** The pause process makes the PID namespace that containers join, or lives in the host's. */
export function pauseNamespaces(paths: Paths, sandbox: Sandbox): NamespaceChoices {
  return { ...pinned(paths, sandbox), pid: sandbox.config.namespaces.pid === "node" ? "host" : "new" };
}

/**
 * What a container joins. `pidOf` gives the process whose PID namespace is meant: of pause for "pod", of the target
 * container for "target".
 */
export function containerNamespaces(
  paths: Paths,
  sandbox: Sandbox,
  config: ContainerConfig,
  pidOf: (id: string) => number,
): NamespaceChoices {
  const { namespaces } = config.security;
  const inherited = pinned(paths, sandbox);
  const pid = (id: string) => `/proc/${pidOf(id)}/ns/pid`;
  const choices = {
    container: () => "new",
    node: () => "host",
    // A sandbox without a shared PID namespace has none to join: its containers have their own.
    pod: () => (sandbox.config.namespaces.pid === "pod" ? pid(sandbox.id) : "new"),
    target: () => pid(namespaces.targetId),
  };
  return {
    ...inherited,
    // A container may ask for the node's namespace in a sandbox that has its own; the reverse is the sandbox's choice.
    network: namespaces.network === "node" ? "host" : inherited.network,
    ipc: namespaces.ipc === "node" ? "host" : inherited.ipc,
    pid: choices[namespaces.pid](),
  };
}

import { invalidArgument } from "../lib/errors.ts";
import type { ContainerConfig } from "../oci/config.ts";
import type { NamespaceChoices } from "../oci/spec/input.ts";
import type { Paths } from "./paths.ts";
import type { Sandbox } from "./sandbox.ts";
import { sandboxHostname } from "./sandbox-files.ts";
import { usersOf } from "./users.ts";

/** The namespaces that are pinned for a sandbox, or the host's; its PID namespace is a process's and not among them. */
function pinned(paths: Paths, { id, config }: Sandbox): Omit<NamespaceChoices, "pid"> {
  return {
    network: config.namespaces.network === "node" ? "host" : paths.netns(id),
    ipc: config.namespaces.ipc === "node" ? "host" : paths.inSandbox(id, "ipc"),
    uts: sandboxHostname(config) === undefined ? "host" : paths.inSandbox(id, "uts"),
    user: usersOf(config) === undefined ? "host" : paths.inSandbox(id, "user"),
  };
}

/** The pause process makes the PID namespace that containers join, or lives in the host's. */
export function pauseNamespaces(paths: Paths, sandbox: Sandbox): NamespaceChoices {
  return { ...pinned(paths, sandbox), pid: sandbox.config.namespaces.pid === "node" ? "host" : "new" };
}

/** Whose process's PID namespace a container joins: the sandbox's, that is pause, or a container's. Undefined: nobody's. */
export function pidOwner(sandbox: Sandbox, { security }: ContainerConfig): string | undefined {
  const { pid, targetId } = security.namespaces;
  if (pid === "target") return targetId;
  // A sandbox without a shared PID namespace has none to join: its containers have their own.
  return pid === "pod" && sandbox.config.namespaces.pid === "pod" ? sandbox.id : undefined;
}

/** What a container joins. `pidOf` gives the process of a `pidOwner`, which has to be the same when it was joined. */
export function containerNamespaces(
  paths: Paths,
  sandbox: Sandbox,
  config: ContainerConfig,
  pidOf: (id: string) => number,
): NamespaceChoices {
  refuseNode(sandbox, config);
  const owner = pidOwner(sandbox, config);
  const own = config.security.namespaces.pid === "node" ? "host" : "new";
  return {
    // Network and IPC are the sandbox's, whatever the container's own options say.
    ...pinned(paths, sandbox),
    pid: owner === undefined ? own : `/proc/${pidOf(owner)}/ns/pid`,
  };
}

/** A container cannot have more of the node than its sandbox was given. */
function refuseNode(sandbox: Sandbox, { security }: ContainerConfig): void {
  for (const kind of ["network", "pid", "ipc"] as const) {
    if (security.namespaces[kind] !== "node" || sandbox.config.namespaces[kind] === "node") continue;
    throw invalidArgument(
      `config.linux.security_context.namespace_options.${kind} is NODE, but the sandbox has a ${kind} namespace of its own`,
    );
  }
}

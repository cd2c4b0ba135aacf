import type { Operation, Operations } from "../launcher/operations.ts";
import type { OciSpec } from "../oci/spec/types.ts";
import { MS_BIND } from "../sys/mount-flags.ts";
import type { Handlers } from "./handlers.ts";
import type { Monitors } from "./monitors.ts";
import type { Paths } from "./paths.ts";
import { createProcess, deleteProcess, startProcess } from "./runtime-calls.ts";
import type { Sandbox } from "./sandbox.ts";
import { usersOf } from "./users.ts";

export interface PausePort {
  isNeeded(sandbox: Sandbox): boolean;
  /** Aborting ends it, also a runtime that hangs. */
  start(sandbox: Sandbox, signal: AbortSignal): Promise<void>;
}

export interface PausePorts {
  readonly operations: Operations;
  readonly monitors: Monitors;
  readonly handlers: Handlers;
  readonly paths: Paths;
  readonly spec: (sandbox: Sandbox) => OciSpec;
  /** Directories of a cgroup in every hierarchy. */
  readonly cgroupDirs: (sandbox: Sandbox, id: string) => readonly string[];
}

/**
 * The process that holds a shared PID namespace. It runs through the sandbox's own OCI runtime, under the sandbox's
 * id, from a root that holds one copy of our binary. Sandboxes whose containers have PID namespaces of their own
 * need none: their pinned namespaces are the sandbox.
 */
export class Pause implements PausePort {
  readonly #ports: PausePorts;

  constructor(ports: PausePorts) {
    this.#ports = ports;
  }

  isNeeded({ config, runtimeHandler }: Sandbox): boolean {
    return (
      config.namespaces.pid === "pod" || this.#ports.handlers.find(runtimeHandler)?.handler.pauseContainer === "always"
    );
  }

  async start(sandbox: Sandbox, signal: AbortSignal): Promise<void> {
    const { operations, monitors, handlers, paths, spec } = this.#ports;
    const { id } = sandbox;
    const { handler } = handlers.requireOf(sandbox);
    const bundle = paths.inSandbox(id, "pause");
    const config = Buffer.from(JSON.stringify(spec(sandbox)));
    await operations.perform(
      [
        { op: "mkdir", path: bundle, mode: 0o700 },
        { op: "writeFile", path: `${bundle}/config.json`, mode: 0o600, data: config },
        ...reachableRoot(paths, sandbox),
      ],
      { owner: id, what: "writing the pause bundle", deadlineMs: 10_000 },
    );
    const monitor = monitors.require(id);
    const call = { id, bundle, logPath: "", uid: 0, gid: 0, stdin: false };
    const process = await createProcess(monitor, handler, call, signal);
    monitors.watch(id, id, process);
    await startProcess(monitor, handler, id);
  }

  /** Kills it and forgets it. None: nothing to do. */
  async stop(sandbox: Sandbox): Promise<void> {
    const { operations, handlers, cgroupDirs } = this.#ports;
    const entry = handlers.findOf(sandbox);
    if (entry === undefined || !this.isNeeded(sandbox)) return;
    await deleteProcess(operations, entry.handler, sandbox.id);
    // A runtime that was killed in the middle of its work does not know what it had made.
    const paths = cgroupDirs(sandbox, sandbox.id);
    await operations.perform(
      [
        { op: "killCgroup", paths },
        { op: "removeCgroup", paths },
      ],
      { owner: sandbox.id, what: "removing the pause cgroup", deadlineMs: 10_000 },
    );
  }
}

/** The same files at a place that the pod's own root may pass through to. */
function reachableRoot(paths: Paths, { id, config }: Sandbox): readonly Operation[] {
  if (usersOf(config) === undefined) return [];
  const target = paths.pauseRootOf(id, true);
  return [
    { op: "mkdir", path: target, mode: 0o755 },
    { op: "mount", source: paths.pauseRootfs, target, type: "none", flags: MS_BIND, data: "" },
  ];
}

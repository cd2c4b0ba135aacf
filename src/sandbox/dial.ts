import type { Socket } from "node:net";
import { getSystemErrorName } from "node:util";
import { DomainError, invalidArgument } from "../lib/errors.ts";
import { MonitorError } from "../monitor/monitor-error.ts";
import type { Monitors } from "./monitors.ts";
import type { Paths } from "./paths.ts";
import { explained } from "./runtime-calls.ts";
import { requireReady, type Sandbox } from "./sandbox.ts";

interface DialPorts {
  readonly monitors: Pick<Monitors, "require">;
  readonly paths: Paths;
}

/** To loopback: who does not take the connection at once is overwhelmed. */
const DEADLINE_MS = 10_000;

/**
 * A connection to 127.0.0.1, else ::1, at a port of a ready sandbox's network. Its halves close one by one; its owner
 * destroys it. Throws `unavailable` when nobody listens there.
 */
export async function dialSandbox(
  { monitors, paths }: DialPorts,
  sandbox: Sandbox,
  port: number,
  signal: AbortSignal,
): Promise<Socket> {
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw invalidArgument(`port ${port} is not from 1 to 65535`);
  const { id, config } = requireReady(sandbox);
  const monitor = monitors.require(id);
  // The monitor lives in the host's network.
  const netns = config.namespaces.network === "node" ? "" : paths.netns(id);
  const what = `connecting to port ${port} of sandbox ${id}`;
  try {
    return await explained(what, () => monitor.dial({ netns, port, deadlineMs: DEADLINE_MS }, signal), monitor);
  } catch (error) {
    if (!(error instanceof MonitorError) || error.monitorCode !== "SYSCALL") throw error;
    const code = getSystemErrorName(-error.errno);
    const why =
      error.what === "netns" ? `its network namespace cannot be entered: ${code}` : `${code} at ${error.path}`;
    throw new DomainError("unavailable", `${what}: ${why}`, { cause: error });
  }
}

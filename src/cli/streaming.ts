import { DomainError, messageOf } from "../lib/errors.ts";
import { StreamingServer } from "../streaming/streaming-server.ts";
import type { Daemon } from "./daemon.ts";
import type { DaemonParts } from "./daemon-parts.ts";
import { streamingRuntime } from "./streaming-runtime.ts";

/** The HTTP server behind Exec, Attach and PortForward. Throws `failedPrecondition` when it cannot listen. */
export async function startStreaming(
  { config: { streaming }, log }: Pick<DaemonParts, "config" | "log">,
  daemon: Daemon,
): Promise<StreamingServer> {
  const { address, port, tlsCert, tlsKey, idleTimeout, streamCreationTimeout } = streaming;
  try {
    return await StreamingServer.listen({
      address,
      port,
      tls: tlsCert === "" ? undefined : { cert: tlsCert, key: tlsKey },
      idleMs: idleTimeout,
      creationMs: streamCreationTimeout,
      runtime: streamingRuntime(daemon),
      log,
    });
  } catch (cause) {
    if (cause instanceof DomainError) throw cause;
    const message = `streaming.address and streaming.port: cannot serve there: ${messageOf(cause)}`;
    throw new DomainError("failedPrecondition", message, { cause });
  }
}

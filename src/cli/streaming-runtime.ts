import type { ContainerService } from "../container/container-service.ts";
import { DomainError, messageOf } from "../lib/errors.ts";
import type { Output } from "../monitor/output-queue.ts";
import type { MonitorSession } from "../monitor/session.ts";
import type { SandboxService } from "../sandbox/sandbox-service.ts";
import type { OutputChunk, Runtime, Session, StreamChoice } from "../streaming/runtime.ts";

interface Services {
  readonly containers: Pick<ContainerService, "exec" | "attach">;
  readonly sandboxes: Pick<SandboxService, "dial">;
}

const MOST = 0xffff;

/** What streaming needs, from the domain. */
export function streamingRuntime({ containers, sandboxes }: Services): Runtime {
  return {
    exec: async (request, signal) =>
      toSession(await containers.exec(request.containerId, request, signal), request, "exec"),
    attach: async (request, signal) =>
      toSession(await containers.attach(request.containerId, request, signal), request, "attach"),
    dial: (sandboxId, port, signal) => sandboxes.dial(sandboxId, port, signal),
  };
}

function toSession(session: MonitorSession, choice: StreamChoice, what: string): Session {
  const ended = session.ended.then(
    (exit) => (exit?.outcome === "signaled" ? 128 + exit.status : exit?.status),
    (error: unknown) => {
      throw new DomainError("unavailable", `${what}: ${messageOf(error)}`, { cause: error });
    },
  );
  ended.catch(() => {}); // a caller who has gone does not ask
  return {
    output: chunks(session.output, choice),
    ended,
    write: (data) => session.write(data),
    endInput: () => session.endInput(),
    resize: ({ width, height }) => session.resize(Math.min(width, MOST), Math.min(height, MOST)),
    [Symbol.dispose]: () => session[Symbol.dispose](),
  };
}

/** What an attached client has missed is told where no program reads it as data. */
async function* chunks(output: AsyncIterable<Output>, { stderr, tty }: StreamChoice): AsyncGenerator<OutputChunk> {
  for await (const part of output) {
    if ("data" in part) yield part;
    else if (stderr && !tty) yield { stream: "stderr", data: Buffer.from(missed(part.lostBytes, part.stream)) };
  }
}

function missed(bytes: bigint, stream: string): string {
  return `\n[${bytes} bytes of ${stream} lost: this client reads too slowly]\n`;
}

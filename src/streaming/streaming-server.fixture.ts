import { Log } from "../lib/log.ts";
import type { Asked } from "./asked.ts";
import { FakeRuntime, type FakeSession } from "./runtime.fixture.ts";
import { type StreamingOptions, StreamingServer } from "./streaming-server.ts";

export interface ServerUnderTest extends AsyncDisposable {
  readonly runtime: FakeRuntime;
  readonly server: StreamingServer;
  /** What was logged. */
  readonly lines: readonly string[];
}

/** A real server on a port of its own, with processes that the test plays. */
export async function start(
  play?: (session: FakeSession) => void,
  options: Partial<StreamingOptions> = {},
): Promise<ServerUnderTest> {
  const runtime = new FakeRuntime(play);
  const lines: string[] = [];
  const log = Log.to({ level: "debug", format: "logfmt", output: (line) => void lines.push(line) });
  const server = await StreamingServer.listen({
    ...{ address: "127.0.0.1", port: 0, idleMs: 60_000, creationMs: 30_000, tls: undefined, runtime, log },
    ...options,
  });
  return { runtime, server, lines, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

const nothing = { stdin: false, stdout: false, stderr: false, tty: false };

/** An exec with these streams. */
export function exec(...streams: ("stdin" | "stdout" | "stderr" | "tty")[]): Asked {
  const chosen = Object.fromEntries(streams.map((stream) => [stream, true]));
  return { kind: "exec", request: { containerId: "c", command: ["cat"], ...nothing, ...chosen } };
}

export const portForward: Asked = { kind: "portforward", sandboxId: "s", ports: [] };

/** There is no event for what a fake was told; each turn of the loop may bring it. */
export async function until(isTrue: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!isTrue()) {
    if (performance.now() > deadline) throw new Error("it did not happen within 10 s");
    await new Promise((resolve) => setImmediate(resolve));
  }
}

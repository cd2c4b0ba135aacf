import type { Frame } from "../lib/wire.ts";
import { MonitorConnection, nextSeq } from "./connection.ts";
import { lost } from "./monitor-error.ts";
import {
  decodeExecEnd,
  decodeExecOutput,
  EVENT,
  type ExecRequest,
  encodeExec,
  MESSAGE,
  type Outcome,
} from "./protocol.ts";

/** How much longer than its own deadlines the monitor may take to answer. */
const GRACE_MS = 10_000;

export interface ExecSyncResult {
  /** "timedOut": the process and what it started were killed. */
  readonly outcome: Outcome;
  /** The exit code or the signal, as `outcome` says. */
  readonly status: number;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  /** Bytes above `maxOutput` that were read and thrown away. */
  readonly droppedBytes: number;
}

/**
 * Runs a process in a container on a data connection of its own and collects its output. Throws `MonitorError`:
 * RUNTIME_FAILED when the runtime could not start it. An aborted `signal` ends the connection, which kills the process.
 */
export async function execSync(
  monitor: { readonly socketPath: string; readonly epoch: bigint },
  id: string,
  request: ExecRequest,
  signal?: AbortSignal,
): Promise<ExecSyncResult> {
  const chunks = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  promise.catch(() => {}); // it is rejected by every close, also when nothing could be sent
  const what = `EXEC ${id}`;
  const connection = await MonitorConnection.open(
    {
      ...monitor,
      kind: "data",
      onEvent: (frame: Frame) => {
        if (frame.type !== EVENT.execOutput) return;
        const { stream, data } = decodeExecOutput(frame.payload);
        chunks[stream].push(data);
      },
      onClose: () => reject(lost(what, "the connection broke")),
    },
    signal,
  );
  const longest = request.timeoutMs === 0 ? 0 : request.timeoutMs + request.deadlineMs + GRACE_MS;
  const timer = longest === 0 ? undefined : setTimeout(() => connection.close(), longest);
  const abort = (): void => reject(signal?.reason instanceof Error ? signal.reason : lost(what, "aborted"));
  signal?.addEventListener("abort", abort, { once: true });
  try {
    connection.send({ what, type: MESSAGE.exec, seq: nextSeq(), payload: encodeExec(id, request), resolve, reject });
    const end = decodeExecEnd(await promise);
    return {
      outcome: end.outcome,
      status: end.status,
      stdout: Buffer.concat(chunks.stdout),
      stderr: Buffer.concat(chunks.stderr),
      droppedBytes: Number(end.dropped),
    };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
    connection.close();
  }
}

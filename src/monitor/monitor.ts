import type { Socket } from "node:net";
import { step } from "../lib/steps.ts";
import { type Frame, WireError } from "../lib/wire.ts";
import { MonitorConnection, nextSeq, type Pending } from "./connection.ts";
import { dial } from "./dial.ts";
import {
  decodeHealth,
  decodeLogError,
  decodeLogLimit,
  decodeLogRecovered,
  decodeOom,
  type Health,
  type LogLimitMet,
  type LogRecovered,
} from "./events.ts";
import { type ExecSyncResult, execSync } from "./exec-sync.ts";
import { lost, MonitorError } from "./monitor-error.ts";
import { decodeContainer, decodeSnapshot, type MonitoredContainer, type SeenExit } from "./monitored-container.ts";
import {
  type CreateRequest,
  decodeCreated,
  decodeRuntimeResult,
  decodeU64,
  EVENT,
  type ExecRequest,
  encodeCreate,
  encodeId,
  encodeRuntime,
  encodeSignal,
  encodeStart,
  type HelloReply,
  MESSAGE,
  type RuntimeCall,
  type RuntimeResult,
} from "./protocol.ts";
import { MonitorSession } from "./session.ts";
import {
  type DialRequest,
  type ExecStreamRequest,
  encodeAttach,
  encodeExecStream,
  type StreamChoice,
} from "./stream-protocol.ts";

/** How much longer than its own deadline the monitor may take to say that it has passed. */
const GRACE_MS = 5_000;
const DEFAULT_DEADLINE_MS = 10_000;

/** Safe to send twice: the monitor replays them, or they ask or say the same again. */
const REPEATABLE: ReadonlySet<number> = new Set([
  MESSAGE.snapshot,
  MESSAGE.create,
  MESSAGE.start,
  MESSAGE.logReopen,
  MESSAGE.ackExit,
  MESSAGE.release,
]);

export interface MonitorOptions {
  readonly socketPath: string;
  /** Of this daemon; a monitor refuses an older one than it has seen. */
  readonly epoch: bigint;
  /** At least once per exit that is not acknowledged, also for exits that a broken connection hid. */
  readonly onExit: (container: SeenExit) => void;
  /** Once; the monitor is gone, or a newer daemon has taken it. Nothing that was not answered will be. */
  readonly onLost: (error: MonitorError) => void;
  readonly onLogError?: (event: { readonly id: string; readonly errno: number }) => void;
  readonly onLogRecovered?: (event: LogRecovered) => void;
  /** Once for each file and limit. */
  readonly onLogLimit?: (event: LogLimitMet) => void;
  /** Something of a container was killed for memory, and it lives: how many were so far. */
  readonly onOom?: (event: { readonly id: string; readonly oomKills: bigint }) => void;
  /** Again and again, as long as a trouble lasts. */
  readonly onHealth?: (health: Health) => void;
}

/**
 * The monitor of one sandbox. A `signal` ends the caller's waiting, never the work. When the connection breaks it is
 * made again once, and what was not answered is sent again where that is safe. Every method throws `MonitorError`.
 */
export class Monitor {
  readonly #options: MonitorOptions;
  #connection: MonitorConnection | undefined;
  #ended: MonitorError | undefined;
  #reconnecting = false;
  #waiting: Pending[] = [];

  private constructor(options: MonitorOptions) {
    this.#options = options;
  }

  static async connect(options: MonitorOptions & { readonly signal?: AbortSignal }): Promise<Monitor> {
    const monitor = new Monitor(options);
    monitor.#connection = await monitor.#open(options.signal);
    return monitor;
  }

  get hello(): HelloReply | undefined {
    return this.#connection?.hello;
  }

  async snapshot(signal?: AbortSignal): Promise<MonitoredContainer[]> {
    return decodeSnapshot(
      await this.#request("SNAPSHOT", MESSAGE.snapshot, Buffer.alloc(0), DEFAULT_DEADLINE_MS, signal),
    );
  }

  /** Runs the runtime's `create`. On any error the monitor holds nothing of the container. */
  async create(
    id: string,
    request: CreateRequest,
    signal?: AbortSignal,
  ): Promise<{ readonly pid: number; readonly startTime: string }> {
    const payload = encodeCreate(id, request);
    return decodeCreated(await this.#request(`CREATE ${id}`, MESSAGE.create, payload, request.deadlineMs, signal));
  }

  /** Runs the runtime's `start`; returns startedNs. The exit may be reported before this returns. */
  async start(id: string, call: RuntimeCall, signal?: AbortSignal): Promise<bigint> {
    const payload = encodeStart(id, call);
    return decodeU64(await this.#request(`START ${id}`, MESSAGE.start, payload, call.deadlineMs, signal));
  }

  /** Runs the runtime for anything else (delete, update, …); its failure is in the result, not thrown. */
  async runtime(cwd: string, call: RuntimeCall, signal?: AbortSignal): Promise<RuntimeResult> {
    const payload = encodeRuntime(cwd, call);
    return decodeRuntimeResult(await this.#request("RUNTIME", MESSAGE.runtime, payload, call.deadlineMs, signal));
  }

  async signal(id: string, number: number, signal?: AbortSignal): Promise<void> {
    const payload = encodeSignal(id, number);
    await this.#request(`SIGNAL ${id}`, MESSAGE.signal, payload, DEFAULT_DEADLINE_MS, signal);
  }

  /** Runs a process in a container to its end, on a connection of its own. Ending the wait kills the process. */
  execSync(id: string, request: ExecRequest, signal?: AbortSignal): Promise<ExecSyncResult> {
    return execSync({ socketPath: this.#options.socketPath, epoch: this.#options.epoch }, id, request, signal);
  }

  /**
   * Starts a process in a container and carries its streams; resolves when it runs. Its owner disposes of the session,
   * which kills the process. UNSUPPORTED: the monitor is of a version that has no sessions.
   */
  exec(id: string, request: ExecStreamRequest, signal: AbortSignal): Promise<MonitorSession> {
    const payload = encodeExecStream(id, request);
    const answerMs = request.deadlineMs + GRACE_MS;
    const asked = { what: `EXEC_STREAM ${id}`, type: MESSAGE.execStream, payload, answerMs };
    return MonitorSession.open(this.#options, asked, signal);
  }

  /** From now on, what a container says, and its input; loses output instead of holding anything up. Errors as of `exec`. */
  attach(id: string, streams: StreamChoice, signal: AbortSignal): Promise<MonitorSession> {
    const payload = encodeAttach(id, streams);
    const asked = { what: `ATTACH ${id}`, type: MESSAGE.attach, payload, answerMs: DEFAULT_DEADLINE_MS };
    return MonitorSession.open(this.#options, asked, signal);
  }

  /** A connection to 127.0.0.1, else ::1, in a network namespace. Its owner destroys it. Errors as of `exec`. */
  dial(request: DialRequest, signal: AbortSignal): Promise<Socket> {
    return dial(this.#options, request, signal);
  }

  /** Leaves the log file for a new one of the same path; returns its inode, 0 for a container without log. */
  async reopenLog(id: string, signal?: AbortSignal): Promise<bigint> {
    return decodeU64(
      await this.#request(`LOG_REOPEN ${id}`, MESSAGE.logReopen, encodeId(id), DEFAULT_DEADLINE_MS, signal),
    );
  }

  /** To be called when the exit is durable here. */
  async ackExit(id: string, signal?: AbortSignal): Promise<void> {
    await this.#request(`ACK_EXIT ${id}`, MESSAGE.ackExit, encodeId(id), DEFAULT_DEADLINE_MS, signal);
  }

  /** Forgets an acknowledged exit and removes its record. */
  async release(id: string, signal?: AbortSignal): Promise<void> {
    await this.#request(`RELEASE ${id}`, MESSAGE.release, encodeId(id), DEFAULT_DEADLINE_MS, signal);
  }

  /** Ends the monitor; `onLost` is not called. Throws BUSY while a container lives or an exit is not acknowledged. */
  async shutdown(signal?: AbortSignal): Promise<void> {
    await this.#request("SHUTDOWN", MESSAGE.shutdown, Buffer.alloc(0), DEFAULT_DEADLINE_MS, signal);
    this.close();
  }

  /** Leaves the monitor alone. Requests that wait are rejected with LOST; `onLost` is not called. */
  close(): void {
    this.#end(lost("connection", "it was closed"));
  }

  #open(signal?: AbortSignal): Promise<MonitorConnection> {
    return MonitorConnection.open(
      {
        socketPath: this.#options.socketPath,
        epoch: this.#options.epoch,
        kind: "control",
        onEvent: (frame) => this.#event(frame),
        onClose: (unanswered) => void this.#recover(unanswered),
      },
      signal,
    );
  }

  #event(frame: Frame): void {
    if (frame.type === EVENT.exit) this.#exited(decodeContainer(frame.payload));
    else if (frame.type === EVENT.logError) this.#options.onLogError?.(decodeLogError(frame.payload));
    else if (frame.type === EVENT.logRecovered) this.#options.onLogRecovered?.(decodeLogRecovered(frame.payload));
    else if (frame.type === EVENT.logLimit) this.#options.onLogLimit?.(decodeLogLimit(frame.payload));
    else if (frame.type === EVENT.oom) this.#options.onOom?.(decodeOom(frame.payload));
    else if (frame.type === EVENT.health) this.#options.onHealth?.(decodeHealth(frame.payload));
  }

  #exited(container: SeenExit): void {
    step("received", `EXIT ${container.id}`);
    this.#options.onExit(container);
  }

  async #recover(unanswered: readonly Pending[]): Promise<void> {
    this.#connection = undefined;
    const again = this.#ended === undefined;
    this.#reconnecting = again;
    for (const pending of unanswered) {
      if (again && REPEATABLE.has(pending.type)) this.#waiting.push(pending);
      else pending.reject(lost(pending.what, "the connection broke"));
    }
    if (!again) return;
    try {
      const connection = await this.#open();
      if (this.#ended !== undefined) return connection.close();
      this.#connection = connection;
      this.#reconnecting = false;
      for (const pending of this.#waiting.splice(0)) connection.send(pending);
      for (const container of await this.snapshot())
        if (container.state === "exited" && !container.acked) this.#exited(container);
    } catch (error) {
      this.#lose(error instanceof MonitorError ? error : lost("connection", String(error)));
    }
  }

  #lose(error: MonitorError): void {
    if (this.#ended !== undefined) return;
    this.#end(error);
    this.#options.onLost(error);
  }

  #end(error: MonitorError): void {
    this.#ended ??= error;
    this.#reconnecting = false;
    for (const pending of this.#waiting.splice(0)) pending.reject(lost(pending.what, "the connection is closed"));
    this.#connection?.close();
  }

  async #request(
    what: string,
    type: number,
    payload: Buffer,
    deadlineMs: number,
    signal?: AbortSignal,
  ): Promise<Buffer> {
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    const pending: Pending = { what, type, seq: nextSeq(), payload, resolve, reject };
    const abandon = (error: Error): void => {
      this.#connection?.forget(pending.seq);
      reject(error);
    };
    const timer = setTimeout(() => abandon(lost(what, "no answer in time")), deadlineMs + GRACE_MS);
    const abort = (): void => abandon(signal?.reason instanceof Error ? signal.reason : lost(what, "aborted"));
    signal?.addEventListener("abort", abort, { once: true });
    try {
      if (this.#reconnecting && REPEATABLE.has(type)) this.#waiting.push(pending);
      else if (this.#connection === undefined) throw this.#ended ?? lost(what, "the connection broke");
      else this.#connection.send(pending);
      return await promise;
    } catch (error) {
      if (error instanceof WireError) throw lost(what, error.message);
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }
}

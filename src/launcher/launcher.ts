import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { DomainError, notFound } from "../lib/errors.ts";
import { Turns } from "../lib/turns.ts";
import type { Frame } from "../lib/wire.ts";
import { LauncherConnection } from "./connection.ts";
import { OperationError } from "./operation-error.ts";
import type { Operation, OperationOptions, Operations, RunRequest, RunResult } from "./operations.ts";
import {
  decodeError,
  decodeExited,
  decodeHelloReply,
  decodeProcess,
  decodeResults,
  decodeRunReply,
  decodeServing,
  type ErrorReply,
  type Exited,
  encodeCancel,
  encodeHello,
  encodeKill,
  encodeNotify,
  encodePerform,
  encodeRun,
  encodeStartMonitor,
  encodeStartUnpack,
  encodeUnwatch,
  encodeWatch,
  errorCode,
  type HelloReply,
  message,
  type ProcessName,
} from "./protocol.ts";

const LIMITS = { atOnce: 64, perOwner: 32, waiting: 4_096, what: "operations of the launcher" };
/** Fencing may wait for an earlier launcher and what it left: 5 + 2 + 2 s, and once more for a race of two. */
const HELLO_MS = 30_000;
const REPLY_MS = 10_000;
const EXIT_MS = 5_000;

export interface LauncherOptions {
  /** Path of nacelle-native. */
  readonly binary: string;
  /** Exists, mode 0700; the launcher keeps its records below. */
  readonly runDir: string;
  /** Grows with every daemon; a launcher restarted by the same daemon has the same. */
  readonly epoch: bigint;
  /** Where launcher, monitors and operations live, relative to each hierarchy's root; empty: where the daemon is. */
  readonly cgroup: string;
  /** Each line that the launcher says. */
  readonly log: (line: string) => void;
  /** A watched process has ended. */
  readonly onExited: (exited: Exited) => void;
}

/** An operation that has not ended yet, for `nacelle status`. */
export interface OperationInFlight {
  readonly owner: string;
  readonly what: string;
  readonly seconds: number;
  /** It has not begun: too many others work. */
  readonly waiting: boolean;
}

interface InFlight {
  readonly owner: string;
  readonly what: string;
  readonly since: number;
  waiting: boolean;
}

/** The daemon's side of the one launcher process. Owns the process; disposing of it ends that and all operations. */
export class Launcher implements Operations, AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #connection: LauncherConnection;
  readonly #turns = new Turns(LIMITS);
  readonly #inFlight = new Set<InFlight>();
  readonly #lost = Promise.withResolvers<string>();
  #hello: HelloReply | undefined;
  readonly #disposing = new AbortController();

  private constructor(child: ChildProcess, socket: Duplex, onExited: (exited: Exited) => void) {
    this.#child = child;
    this.#connection = new LauncherConnection(socket, {
      onEvent: (frame) => {
        if (frame.type === message.exited) onExited(decodeExited(frame.payload));
      },
      onClose: (reason) => this.#closed(reason),
    });
  }

  /**
   * Starts the process and waits until nothing of an earlier launcher acts any more (but for what `stuck` names).
   * Rejects with `unavailable` when it does not start, with `failedPrecondition` when a newer daemon was here.
   */
  static async start(options: LauncherOptions): Promise<Launcher> {
    const argv = ["launcher", options.runDir, String(options.epoch), options.cgroup];
    // An empty environment: nothing of the daemon's (NOTIFY_SOCKET, secrets) is to be found in what comes from here.
    const child = spawn(options.binary, argv, {
      cwd: "/",
      detached: true,
      env: {},
      stdio: ["ignore", "ignore", "pipe", "pipe"],
    });
    const socket = child.stdio[3];
    if (!(socket instanceof Duplex)) throw new DomainError("internal", "no connection to the launcher");
    if (child.stderr !== null) createInterface(child.stderr).on("line", options.log);
    const launcher = new Launcher(child, socket, options.onExited);
    child.on("error", (error) => launcher.#connection.close(`${options.binary}: ${error.message}`));
    try {
      const payload = encodeHello(options.epoch);
      launcher.#hello = decodeHelloReply(await launcher.#call(message.hello, payload, "its start", HELLO_MS));
      return launcher;
    } catch (error) {
      await launcher[Symbol.asyncDispose]();
      throw error;
    }
  }

  get pid(): number {
    return this.#greeting.pid;
  }

  /** Owners of operations of an earlier launcher that cannot die (their processes are in state D). */
  get stuck(): readonly string[] {
    return this.#greeting.stuck;
  }

  /** Resolves with the reason when the launcher died without having been disposed of. Its operations died with it. */
  get lost(): Promise<string> {
    return this.#lost.promise;
  }

  async run(request: RunRequest, signal?: AbortSignal): Promise<RunResult> {
    const reply = await this.#inTurn(request, signal, async () => {
      const frame = await this.#cancellable(message.run, encodeRun(request), request, signal);
      return decodeRunReply(frame);
    });
    if (reply.outcome !== "cancelled") return { ...reply, outcome: reply.outcome };
    signal?.throwIfAborted();
    throw new DomainError("unavailable", `${request.what} was cancelled`);
  }

  async perform(operations: readonly Operation[], options: OperationOptions): Promise<readonly Buffer[]> {
    return await this.#inTurn(options, undefined, async () => {
      const payload = encodePerform(operations, options);
      return decodeResults(await this.#cancellable(message.perform, payload, options, undefined));
    });
  }

  /** The monitor's socket accepts connections when this resolves. A stale socket at its path is replaced; its directory exists. */
  async startMonitor(options: {
    readonly sandboxId: string;
    readonly socketPath: string;
    readonly recordDir: string;
  }): Promise<ProcessName> {
    const payload = encodeStartMonitor(options.sandboxId, options.socketPath, options.recordDir);
    return decodeProcess(await this.#call(message.startMonitor, payload, `start of monitor ${options.sandboxId}`));
  }

  /** `onExited` will be called once with this key. Replaces an earlier watch of it; `notFound` when the process is gone. */
  async watch(key: string, pid: number, startTime: bigint): Promise<void> {
    await this.#call(message.watch, encodeWatch(key, { pid, startTime }), `watch of ${key}`);
  }

  /** Unknown key: nothing to do. */
  async unwatch(key: string): Promise<void> {
    await this.#call(message.unwatch, encodeUnwatch(key), `end of the watch of ${key}`);
  }

  /** Sends a signal to exactly this process. Gone already: nothing to do. */
  async kill(pid: number, startTime: bigint, signal: number): Promise<void> {
    const reply = await this.#request(message.kill, encodeKill({ pid, startTime }, signal), `signal to process ${pid}`);
    if (reply.isError && decodeError(reply.payload).code !== errorCode.noSuch) this.#refuse(reply, "signal", 0);
  }

  /** Tells the service manager that listens on `socket` (a path, or "@name" for an abstract one), as sd_notify(3) does. */
  async notify(socket: string, text: string): Promise<void> {
    await this.#call(message.notify, encodeNotify(socket, text), "word to the service manager");
  }

  /** A process that fills the existing directory `dir`; it accepts one connection, within 10 s, and ends with it, or after `silenceMs` without a byte. */
  async startUnpack(dir: string, silenceMs: number): Promise<{ readonly socketPath: string; readonly pid: number }> {
    const payload = encodeStartUnpack(dir, silenceMs);
    return decodeServing(await this.#call(message.startUnpack, payload, `unpacking into ${dir}`));
  }

  /** The process that reads statistics; it accepts one connection, within 10 s, and ends with it. */
  async startStats(): Promise<{ readonly socketPath: string; readonly pid: number }> {
    return decodeServing(await this.#call(message.startStats, Buffer.alloc(0), "start of the stats reader"));
  }

  /** What is being done or waits, oldest first. */
  snapshot(): OperationInFlight[] {
    const now = performance.now();
    return [...this.#inFlight].map(({ since, ...one }) => ({ ...one, seconds: Math.round((now - since) / 1000) }));
  }

  /** Ends all operations and the process; waits at most 5 s for it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposing.abort();
    this.#connection.close("it was closed");
    if (this.#child.pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const waiting = new AbortController();
    await Promise.race([
      once(this.#child, "exit", { signal: waiting.signal }),
      delay(EXIT_MS, undefined, { signal: waiting.signal }),
    ]);
    waiting.abort();
  }

  get #greeting(): HelloReply {
    if (this.#hello === undefined) throw new DomainError("internal", "the launcher has not said HELLO yet");
    return this.#hello;
  }

  #closed(reason: string): void {
    if (this.#disposing.signal.aborted) return;
    // It kills its operations and exits when it sees the end; one that hangs must not outlive its loss for long.
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), EXIT_MS).unref();
    this.#child.once("exit", () => clearTimeout(timer));
    this.#lost.resolve(reason);
  }

  /** The deadline covers the wait for a turn too; what it is called in messages says which of the two it was. */
  async #inTurn<T>(options: OperationOptions, signal: AbortSignal | undefined, act: () => Promise<T>): Promise<T> {
    const { owner, what, deadlineMs } = options;
    const inFlight: InFlight = { owner, what, since: performance.now(), waiting: true };
    const patience = new AbortController();
    const tooLong = new DomainError("deadlineExceeded", `${what} waited ${deadlineMs / 1000} s for other operations`);
    const timer = setTimeout(() => patience.abort(tooLong), deadlineMs);
    this.#inFlight.add(inFlight);
    try {
      const either = signal === undefined ? patience.signal : AbortSignal.any([signal, patience.signal]);
      using _turn = await this.#turns.take(owner, either);
      clearTimeout(timer);
      inFlight.waiting = false;
      return await act();
    } finally {
      clearTimeout(timer);
      this.#inFlight.delete(inFlight);
    }
  }

  async #cancellable(
    type: number,
    payload: Buffer,
    { what, deadlineMs }: OperationOptions,
    signal: AbortSignal | undefined,
  ): Promise<Buffer> {
    const seq = LauncherConnection.nextSeq();
    // A launcher that is gone has cancelled everything.
    const cancel = (): void =>
      void this.#request(message.cancel, encodeCancel(seq), "a cancellation").catch(() => undefined);
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      const timeoutMs = deadlineMs + REPLY_MS;
      const reply = await this.#connection.request({ type, seq, payload, what, timeoutMs });
      return reply.isError ? this.#refuse(reply, what, deadlineMs) : reply.payload;
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  }

  #request(type: number, payload: Buffer, what: string, timeoutMs = REPLY_MS): Promise<Frame> {
    return this.#connection.request({ type, seq: LauncherConnection.nextSeq(), payload, what, timeoutMs });
  }

  async #call(type: number, payload: Buffer, what: string, timeoutMs = REPLY_MS): Promise<Buffer> {
    const reply = await this.#request(type, payload, what, timeoutMs);
    return reply.isError ? this.#refuse(reply, what, timeoutMs) : reply.payload;
  }

  #refuse(reply: Frame, what: string, deadlineMs: number): never {
    throw failure(decodeError(reply.payload), what, deadlineMs);
  }
}

/** An error reply in the daemon's terms. */
function failure(reply: ErrorReply, what: string, deadlineMs: number): Error {
  switch (reply.code) {
    case errorCode.syscall:
      return OperationError.failed(what, { ...reply, syscall: reply.what });
    case errorCode.timeout:
      return OperationError.timedOut(what, deadlineMs, reply.index);
    case errorCode.staleEpoch:
      return new DomainError("failedPrecondition", `${what}: a newer nacelle has taken over; this one must stop`);
    case errorCode.noSuch:
      return notFound(reply.what, what);
    case errorCode.limit:
      return new DomainError("resourceExhausted", `${what}: the launcher has too many ${reply.what}`);
    case errorCode.cancelled:
      return new DomainError("unavailable", `${what} was cancelled`);
    default:
      return new DomainError("internal", `${what}: launcher error ${reply.code}: ${reply.what}`);
  }
}

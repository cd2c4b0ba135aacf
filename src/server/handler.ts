import { randomBytes } from "node:crypto";
import type { handleServerStreamingCall, handleUnaryCall, ServerWritableStream } from "@grpc/grpc-js";
import { Metadata, status } from "@grpc/grpc-js";
import { toStatus } from "./status.ts";

/** What a call gives to its handler besides the request. */
export interface CallContext {
  /** Names the call in logs; unique between restarts too. */
  readonly callId: string;
  /** Aborts when the client cancels (AbortError) or its deadline passes (TimeoutError), never after the answer. */
  readonly signal: AbortSignal;
}

/** A call with one answer. */
export type Unary<Request, Response> = (request: Request, call: CallContext) => Promise<Response>;

/** What a call with many answers gives to its handler besides. */
export interface StreamContext extends CallContext {
  /** Sends the headers: the client knows that it is being served, though there may be nothing to send for long. */
  begin(): void;
  /** Ends the call with this error, even while a message waits for a client that does not read. */
  cut(reason: Error): void;
}

/** A call with any number of answers; the next one is asked for when the client has taken the last. */
export type ServerStreaming<Request, Response> = (
  request: Request,
  call: StreamContext,
) => AsyncIterable<Response> | Iterable<Response>;

/** A call that has ended. */
export interface CallRecord {
  readonly method: string;
  readonly callId: string;
  readonly ms: number;
  /** The status' name, like "NOT_FOUND". */
  readonly code: string;
  /** As thrown; absent when all went well. */
  readonly error?: unknown;
}

/** Told once about every call, after it was answered. Must not throw. */
export type CallObserver = (call: CallRecord) => void;

/** Turns an async function into a grpc-js handler: cancellation in, status, log and metrics out. */
export function unary<Request, Response>(
  method: string,
  handle: Unary<Request, Response>,
  observe: CallObserver,
): handleUnaryCall<Request, Response> {
  return (grpcCall, callback) => {
    const call = new Call(method, grpcCall, observe);
    Promise.try(() => handle(grpcCall.request, call.context)).then(
      (response) => {
        call.answered();
        callback(null, response);
        call.ended();
      },
      (error: unknown) => {
        call.answered();
        callback(toStatus(error));
        call.ended(error);
      },
    );
  };
}

/** Turns a generator into a grpc-js handler: as {@link unary}, and a slow client slows the generator. */
export function serverStreaming<Request, Response>(
  method: string,
  handle: ServerStreaming<Request, Response>,
  observe: CallObserver,
): handleServerStreamingCall<Request, Response> {
  return (grpcCall) => {
    const call = new Call(method, grpcCall, observe);
    const context: StreamContext = {
      ...call.context,
      begin: () => grpcCall.sendMetadata(new Metadata()),
      cut: (reason) => call.cut(reason),
    };
    send(grpcCall, () => handle(grpcCall.request, context), context.signal).then(
      () => {
        call.answered();
        grpcCall.end();
        call.ended();
      },
      (error: unknown) => {
        call.answered();
        grpcCall.emit("error", toStatus(error));
        call.ended(error);
      },
    );
  };
}

async function send<Response>(
  stream: ServerWritableStream<unknown, Response>,
  messages: () => AsyncIterable<Response> | Iterable<Response>,
  signal: AbortSignal,
): Promise<void> {
  for await (const message of messages()) {
    signal.throwIfAborted();
    await written(stream, message, signal);
  }
  signal.throwIfAborted();
}

/** Resolves when the message has left for the client; grpc-js never says so once the call was cancelled. */
function written<Response>(
  stream: ServerWritableStream<unknown, Response>,
  message: Response,
  signal: AbortSignal,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  stream.write(message, (error: Error | null | undefined) => (error ? reject(error) : resolve()));
  return promise.finally(() => signal.removeEventListener("abort", onAbort));
}

interface Cancellable {
  on(event: "cancelled", listener: () => void): unknown;
  getDeadline(): Date | number;
}

const processName = randomBytes(4).toString("hex");
let calls = 0;

class Call {
  readonly context: CallContext;
  readonly #method: string;
  readonly #observe: CallObserver;
  readonly #started = performance.now();
  readonly #controller = new AbortController();
  #cancel: () => void;

  constructor(method: string, grpcCall: Cancellable, observe: CallObserver) {
    this.#method = method;
    this.#observe = observe;
    calls += 1;
    this.context = { callId: `${processName}-${calls}`, signal: this.#controller.signal };
    this.#cancel = () => this.#controller.abort(reasonOf(grpcCall));
    grpcCall.on("cancelled", () => this.#cancel());
  }

  cut(reason: Error): void {
    this.#controller.abort(reason);
  }

  /** grpc-js says "cancelled" at the end of every call: from here on it means nothing. */
  answered(): void {
    this.#cancel = () => {};
  }

  ended(error?: unknown): void {
    const ms = performance.now() - this.#started;
    const base = { method: this.#method, callId: this.context.callId, ms };
    if (error === undefined) this.#observe({ ...base, code: status[status.OK] });
    else this.#observe({ ...base, code: status[toStatus(error).code], error });
  }
}

/** A client whose own clock ends the call says no more than that it cancels, and is a little ahead of us: only this side's end is sure. */
function reasonOf(call: Cancellable): DOMException {
  // Timers may be a millisecond early.
  const late = Temporal.Now.instant().epochMilliseconds + 1 >= Number(call.getDeadline());
  return late
    ? new DOMException("the client's deadline has passed", "TimeoutError")
    : new DOMException("the client has cancelled the call", "AbortError");
}

import { once } from "node:events";
import { join } from "node:path";
import { Client, type ClientReadableStream, credentials, type ServiceError } from "@grpc/grpc-js";
import { loadSync, type MethodDefinition } from "@grpc/proto-loader";
import type { Answers, Message } from "./cri-answers.ts";

const proto = join(import.meta.dirname, "../../proto/cri-api/api.proto");
const services = ["runtime.v1.RuntimeService", "runtime.v1.ImageService"];
/** Longer than anything a healthy server does for one call; a kubelet waits two minutes as well. */
const patienceMs = 120_000;
const messageLimit = 64 << 20;

type Method = MethodDefinition<object, object>;

/** How long to wait for one call, and how to give it up earlier. */
export interface CallOptions {
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
}

/**
 * A client of the CRI that knows no more than the published protocol: messages are plain objects with names in camel
 * case, enumerations are names, 64-bit numbers are decimal texts. A failed call rejects with grpc-js's `ServiceError`.
 * It connects again by itself, 20 ms after a server came back.
 */
export class CriClient implements Disposable {
  readonly #client: Client;
  readonly #methods: ReadonlyMap<string, Method>;

  private constructor(client: Client, methods: ReadonlyMap<string, Method>) {
    this.#client = client;
    this.#methods = methods;
  }

  /** A client of the server at the path of a unix socket. It connects with the first call. */
  static connect(socket: string): CriClient {
    const client = new Client(`unix://${socket}`, credentials.createInsecure(), {
      "grpc.initial_reconnect_backoff_ms": 20,
      "grpc.min_reconnect_backoff_ms": 20,
      "grpc.max_reconnect_backoff_ms": 50,
      "grpc.max_receive_message_length": messageLimit,
      "grpc.max_send_message_length": messageLimit,
      "grpc.use_local_subchannel_pool": 1, // each client has a connection of its own
    });
    return new CriClient(client, loadMethods());
  }

  /** Calls a method of either service by its name. */
  async call<Name extends keyof Answers>(name: Name, request: Message, options?: CallOptions): Promise<Answers[Name]>;
  async call(name: string, request: Message, options?: CallOptions): Promise<Message>;
  async call(name: string, request: Message, options: CallOptions = {}): Promise<unknown> {
    return await this.#unary(this.#method(name), request, options);
  }

  /** Calls a method with bytes that need not be a message at all. */
  async callBytes(name: string, bytes: Buffer, options: CallOptions = {}): Promise<unknown> {
    const method = { ...this.#method(name), requestSerialize: () => bytes };
    return await this.#unary(method, {}, options);
  }

  /** Calls a method and answers the bytes of the answer. */
  async answerBytes(name: string, request: Message, options: CallOptions = {}): Promise<Buffer> {
    const method = { ...this.#method(name), responseDeserialize: (bytes: Buffer) => bytes };
    return (await this.#unary(method, request, options)) as Buffer;
  }

  /** Calls a method that answers with a stream, and collects it. */
  async stream(name: string, request: Message, { deadlineMs = patienceMs }: CallOptions = {}): Promise<Message[]> {
    const { path, requestSerialize, responseDeserialize } = this.#method(name);
    const deadline = Date.now() + deadlineMs;
    const call = this.#client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request, {
      deadline,
    });
    const answers: Message[] = [];
    for await (const answer of call) answers.push(answer);
    return answers;
  }

  /** Calls a method whose answers come for as long as somebody listens. Resolves once the server has said that it serves. */
  async open<Answer>(name: string, request: Message): Promise<ClientReadableStream<Answer>> {
    const { path, requestSerialize, responseDeserialize } = this.#method(name);
    const parse = responseDeserialize as (bytes: Buffer) => Answer;
    const call = this.#client.makeServerStreamRequest(path, requestSerialize, parse, request);
    await once(call, "metadata");
    return call;
  }

  /** Ends the connection; calls in flight fail. */
  close(): void {
    this.#client.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #method(name: string): Method {
    const method = this.#methods.get(name);
    if (method === undefined) throw new Error(`the CRI has no method ${name}`);
    return method;
  }

  async #unary(method: Method, request: Message, { deadlineMs = patienceMs, signal }: CallOptions): Promise<unknown> {
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const call = this.#client.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      { deadline: Date.now() + deadlineMs },
      (error, answer) => (error === null ? resolve(answer) : reject(error)),
    );
    const cancel = () => call.cancel();
    signal?.addEventListener("abort", cancel);
    try {
      return await promise;
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  }
}

/** Whether a call failed with this gRPC status (`status.NOT_FOUND`, …). */
export function hasStatus(error: unknown, code: number): error is ServiceError {
  return error instanceof Error && "code" in error && error.code === code;
}

let methods: ReadonlyMap<string, Method> | undefined;

function loadMethods(): ReadonlyMap<string, Method> {
  methods ??= readMethods();
  return methods;
}

function readMethods(): ReadonlyMap<string, Method> {
  const definition = loadSync(proto, { longs: String, enums: String, defaults: true, oneofs: true });
  const found = services.flatMap((name) => Object.entries((definition[name] ?? {}) as Record<string, Method>));
  if (found.length === 0) throw new Error(`${proto} defines no service of the CRI`);
  return new Map(found);
}

import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { DomainError } from "../lib/errors.ts";
import type { AttachRequest, ExecRequest, OutputChunk, Runtime, Session, TerminalSize } from "./runtime.ts";

/** A process that a test plays. */
export class FakeSession implements Session {
  readonly request: ExecRequest | AttachRequest;
  readonly sizes: TerminalSize[] = [];
  readonly inputs: Buffer[] = [];
  readonly inputEnded = Promise.withResolvers<void>();
  readonly disposal = Promise.withResolvers<void>();
  disposals = 0;
  /** How often the next output was asked for. */
  taken = 0;
  /** What the process does with input, besides having it recorded. */
  onInput: (data: Buffer) => void | Promise<void> = () => {};
  readonly #code = Promise.withResolvers<number | undefined>();
  readonly #outputs: OutputChunk[] = [];
  #isOver = false;
  #wake = () => {};

  constructor(request: ExecRequest | AttachRequest) {
    this.request = request;
    this.#code.promise.catch(() => {});
  }

  print(text: string | Buffer, stream: "stdout" | "stderr" = "stdout"): void {
    this.#outputs.push({ stream, data: Buffer.from(text) });
    this.#wake();
  }

  exit(code?: number): void {
    this.#isOver = true;
    this.#code.resolve(code);
    this.#wake();
  }

  fail(message: string): void {
    this.#isOver = true;
    this.#code.reject(new DomainError("internal", message));
    this.#wake();
  }

  get output(): AsyncIterable<OutputChunk> {
    return this.#chunks();
  }

  async *#chunks(): AsyncGenerator<OutputChunk> {
    while (true) {
      const chunk = this.#outputs.shift();
      if (chunk !== undefined) {
        this.taken += 1;
        yield chunk;
      } else if (this.#isOver) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  async write(data: Buffer): Promise<void> {
    this.inputs.push(Buffer.from(data));
    await this.onInput(data);
  }

  endInput(): void {
    this.inputEnded.resolve();
  }

  resize(size: TerminalSize): void {
    this.sizes.push(size);
  }

  get ended(): Promise<number | undefined> {
    return this.#code.promise;
  }

  [Symbol.dispose](): void {
    this.disposals += 1;
    this.disposal.resolve();
    this.exit(137);
  }
}

/** Processes that tests play; ports of any sandbox are those of this host. */
export class FakeRuntime implements Runtime {
  readonly sessions: FakeSession[] = [];
  readonly #play: (session: FakeSession) => void;

  constructor(play: (session: FakeSession) => void = () => {}) {
    this.#play = play;
  }

  async exec(request: ExecRequest): Promise<FakeSession> {
    const session = new FakeSession(request);
    this.sessions.push(session);
    this.#play(session);
    return session;
  }

  attach(request: AttachRequest): Promise<FakeSession> {
    return this.exec({ ...request, command: [] });
  }

  async dial(_sandboxId: string, port: number, signal: AbortSignal): Promise<Socket> {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    await once(socket, "connect", { signal });
    return socket;
  }

  /** The only session. */
  get session(): FakeSession {
    const [session] = this.sessions;
    if (session === undefined || this.sessions.length > 1) throw new Error(`${this.sessions.length} sessions`);
    return session;
  }
}

/** Prints its input, and exits with 0 at its end. */
export function cat(session: FakeSession): void {
  session.onInput = (data) => session.print(data);
  void session.inputEnded.promise.then(() => session.exit(0));
}

import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { getSystemErrorMessage } from "node:util";
import { decodeResult, type UnpackResult } from "./frames.ts";

/** The unpack process could not make an entry, or is gone. */
export class UnpackError extends Error {
  override readonly name = "UnpackError";
}

/** A connection to one unpack process: frames go out, one RESULT comes in. */
export class UnpackConnection implements Disposable {
  readonly #socket: Socket;
  readonly #result = Promise.withResolvers<UnpackResult>();
  #received = Buffer.alloc(0);
  #failure: UnpackError | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#result.promise.catch(() => {}); // told by `drained` or `result`, whichever is asked first
    socket.on("data", (bytes: Buffer) => this.#receive(bytes));
    socket.on("error", (error) => this.#fail(`lost the unpack process: ${error.message}`));
    socket.on("close", () => this.#fail("the unpack process ended without an answer"));
  }

  static async open(path: string): Promise<UnpackConnection> {
    const socket = connect(path);
    await once(socket, "connect");
    return new UnpackConnection(socket);
  }

  /** Owns `frames` from here on. */
  send(frames: Buffer): void {
    this.#socket.write(frames);
  }

  /** Resolves when more may be sent. Throws `UnpackError` as soon as the process has refused or is gone. */
  async drained(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    if (!this.#socket.writableNeedDrain) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#socket.once("drain", resolve);
    try {
      await Promise.race([promise, this.#result.promise]);
    } finally {
      this.#socket.off("drain", resolve);
    }
  }

  /** Resolves with the answer to END. */
  result(): Promise<UnpackResult> {
    return this.#result.promise;
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  #receive(bytes: Buffer): void {
    this.#received = Buffer.concat([this.#received, bytes]);
    try {
      const result = decodeResult(this.#received);
      if (result?.errno === 0) this.#result.resolve(result);
      else if (result !== undefined) this.#fail(describe(result));
    } catch (error) {
      this.#fail(String(error));
    }
  }

  #fail(message: string): void {
    this.#failure ??= new UnpackError(message);
    this.#result.reject(this.#failure);
  }
}

function describe({ errno, path }: UnpackResult): string {
  return `cannot unpack ${JSON.stringify(path)}: ${getSystemErrorMessage(-errno)} (errno ${errno})`;
}

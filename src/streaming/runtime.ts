import type { Socket } from "node:net";

/** In characters, as a terminal counts. */
export interface TerminalSize {
  readonly width: number;
  readonly height: number;
}

export interface OutputChunk {
  readonly stream: "stdout" | "stderr";
  readonly data: Buffer;
}

/** Which streams a client asked for. With `tty` there is no stderr. */
export interface StreamChoice {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}

export interface ExecRequest extends StreamChoice {
  readonly containerId: string;
  readonly command: readonly string[];
}

export interface AttachRequest extends StreamChoice {
  readonly containerId: string;
}

/**
 * One exec or attach, as the monitor carries it. Who opened it disposes it: an exec's process and what it started are
 * killed then, an attach is only detached. Disposing twice is allowed.
 */
export interface Session extends Disposable {
  /** In the order of arrival; ends when the outputs have ended. An exec whose output is not asked for is slowed; an attach loses output. */
  readonly output: AsyncIterable<OutputChunk>;
  /** Resolves when the next bytes may be given. What the process does not take any more is dropped. */
  write(data: Buffer): Promise<void>;
  /** End of input: the process reads EOF, unless input of the container stays open for later clients. */
  endInput(): void;
  /** Without a terminal: nothing. */
  resize(size: TerminalSize): void;
  /** How it ended, after the output has ended: an exec's exit code (128 + n by signal n); undefined for an attach. Rejects when the session broke. */
  readonly ended: Promise<number | undefined>;
}

/** What streaming needs of the rest. Every method throws DomainError; an aborted signal ends the opening and frees what it made. */
export interface Runtime {
  exec(request: ExecRequest, signal: AbortSignal): Promise<Session>;
  attach(request: AttachRequest, signal: AbortSignal): Promise<Session>;
  /** A connection to 127.0.0.1, else ::1, at `port` in the sandbox's network. Half-closes both ways. */
  dial(sandboxId: string, port: number, signal: AbortSignal): Promise<Socket>;
}

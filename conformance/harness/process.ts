import { type ChildProcess, spawn } from "node:child_process";
import { type FileHandle, open, readFile } from "node:fs/promises";

/** A program of the harness in a process group of its own; its output goes to a file. Disposing it kills what is left. */
export class Daemon implements AsyncDisposable {
  readonly logFile: string;
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<string>;

  private constructor(name: string, logFile: string, child: ChildProcess) {
    this.logFile = logFile;
    this.#name = name;
    this.#child = child;
    const { promise, resolve } = Promise.withResolvers<string>();
    child.once("exit", (code, signal) => resolve(signal ?? `exit code ${code}`));
    this.#exited = promise;
  }

  /** Starts it; rejects when there is no such program. */
  static async start(
    command: readonly string[],
    logFile: string,
    env: NodeJS.ProcessEnv = process.env,
  ): Promise<Daemon> {
    const [program = "", ...args] = command;
    await using log: FileHandle = await open(logFile, "a");
    const child = spawn(program, args, { detached: true, env, stdio: ["ignore", log.fd, log.fd] });
    const daemon = new Daemon(program, logFile, child);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    child.once("spawn", resolve).once("error", reject);
    await promise;
    return daemon;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** How it ended: a signal's name or `exit code N`. */
  async exited(): Promise<string> {
    return await this.#exited;
  }

  /** Waits at most this long for `ready`; rejects at once, with the end of its output, when the program ends before that. */
  async until(ready: (signal: AbortSignal) => Promise<void>, limitMs: number): Promise<void> {
    const waiting = new AbortController();
    const signal = AbortSignal.any([waiting.signal, AbortSignal.timeout(limitMs)]);
    const early = async () => {
      const how = await this.#exited;
      throw new Error(`${this.#name} ended (${how}) before it was ready:\n${await this.tail()}`);
    };
    try {
      await Promise.race([ready(signal), early()]);
    } finally {
      waiting.abort();
    }
  }

  /** Sends a signal to it alone. */
  signal(name: NodeJS.Signals): void {
    if (this.running) this.#child.kill(name);
  }

  /** SIGTERM, and SIGKILL when it is still there after the grace period. Answers how it ended. */
  async stop(graceMs = 30_000): Promise<string> {
    this.signal("SIGTERM");
    const deadline = setTimeout(() => this.signal("SIGKILL"), graceMs);
    try {
      return await this.#exited;
    } finally {
      clearTimeout(deadline);
    }
  }

  /** The last lines that it wrote. */
  async tail(lines = 40): Promise<string> {
    return (await readFile(this.logFile, "utf8")).trimEnd().split("\n").slice(-lines).join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop(5_000);
  }
}

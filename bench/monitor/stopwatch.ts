import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** `stopwatch.c`: one command at a time. Disposing it ends the program. */
export class Stopwatch implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  /** `monitor` is spoken to, if there is one. */
  constructor(
    program: string,
    monitor: readonly [socketPath: string, hello: Buffer] | undefined,
    env: readonly string[],
  ) {
    const args = monitor === undefined ? [] : [monitor[0], monitor[1].toString("hex")];
    const environment = Object.fromEntries(env.map((entry) => entry.split("=", 2)));
    this.#child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"], env: environment });
    if (this.#child.stdout === null) throw new Error("no output of the stopwatch");
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]();
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The numbers of a command's answer. Rejects when it failed; it has said why on stderr. */
  async ask(command: string, ...words: readonly (string | number)[]): Promise<readonly number[]> {
    this.#child.stdin?.write(`${[command, ...words].join("\t")}\n`);
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(`the stopwatch has ended: ${command} ${words.join(" ").slice(0, 200)}`);
    return String(value).split(" ").map(Number);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.stdin?.end();
    await ended;
  }
}

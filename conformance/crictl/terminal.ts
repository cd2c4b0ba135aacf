import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { appeared, written } from "../harness/event.ts";

const run = promisify(execFile);
const patienceMs = 30_000;

/** A command in a real terminal, of tmux, whose output goes to a file. Disposing it ends both. */
export class Terminal implements AsyncDisposable {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Runs the command in a terminal of that many columns and rows. */
  static async start(command: readonly string[], columns = 132, rows = 43): Promise<Terminal> {
    const folder = await mkdtemp(join(tmpdir(), "term-"));
    const terminal = new Terminal(folder);
    await writeFile(join(folder, "screen"), "");
    const script = join(folder, "script");
    // Nothing is run before what it prints is kept.
    await writeFile(script, `read start\n${command.map(quoted).join(" ")}\necho $? >code.new\nmv code.new code\n`);
    const size = ["-x", String(columns), "-y", String(rows)];
    await terminal.#tmux("new-session", "-d", "-s", "t", "-c", folder, ...size, "sh", script);
    await terminal.#tmux("pipe-pane", "-t", "t", `cat >>${folder}/screen`);
    await terminal.press("Enter");
    return terminal;
  }

  /** Types text as it is. */
  async type(text: string): Promise<void> {
    await this.#tmux("send-keys", "-t", "t", "-l", text);
  }

  /** Presses a key by tmux's name of it: `Enter`, `C-c`, `C-d`. */
  async press(key: string): Promise<void> {
    await this.#tmux("send-keys", "-t", "t", key);
  }

  async resize(columns: number, rows: number): Promise<void> {
    await this.#tmux("resize-window", "-t", "t", "-x", String(columns), "-y", String(rows));
  }

  /** Resolves once the terminal has shown the text. */
  async shows(text: string): Promise<void> {
    const path = join(this.#folder, "screen");
    try {
      await written(path, text, AbortSignal.timeout(patienceMs));
    } catch (error) {
      throw new Error(`the terminal never showed ${JSON.stringify(text)}:\n${await readFile(path, "utf8")}`, {
        cause: error,
      });
    }
  }

  /** Resolves with the command's exit code. */
  async code(): Promise<number> {
    await appeared(join(this.#folder, "code"), AbortSignal.timeout(patienceMs));
    return Number(await readFile(join(this.#folder, "code"), "utf8"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tmux("kill-server").catch(() => {});
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #tmux(...args: string[]): Promise<void> {
    await run("tmux", ["-L", "t", "-f", "/dev/null", ...args], { env: { ...process.env, TMUX_TMPDIR: this.#folder } });
  }
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { patience } from "../harness/patience.ts";
import type { Server, ServerPaths } from "../harness/server.ts";
import { tool } from "../harness/tools.ts";

const limitMs = patience(60_000);

/** How a crictl command ended. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A server as crictl needs it. */
type Served = Pick<Server, "endpoint" | "logTail"> & { readonly paths: Pick<ServerPaths, "folder"> };

/** crictl against one server, with the sandbox and container files that its commands read. */
export class Crictl {
  readonly #server: Served;
  readonly #folder: string;
  #files = 0;

  constructor(server: Served) {
    this.#server = server;
    this.#folder = join(server.paths.folder, "crictl");
  }

  /** Runs a command and answers what it printed, trimmed. Throws with both outputs when it fails. */
  async run(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.attempt(...args);
    if (code === 0) return stdout.trim();
    throw new Error(`crictl ${args.join(" ")} ended with ${code}\n${stdout}${stderr}\n${await this.#server.logTail()}`);
  }

  /** Runs a command that may fail. */
  async attempt(...args: string[]): Promise<Outcome> {
    return await this.attemptWith(undefined, ...args);
  }

  /** The same, with this as its whole input; undefined: the input is empty. */
  async attemptWith(input: string | Buffer | undefined, ...args: string[]): Promise<Outcome> {
    const [program = "", ...rest] = await this.command(...args);
    return await new Promise((resolve) => {
      const child = execFile(program, rest, { timeout: limitMs, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr });
      });
      // What it does not read before it ends is nobody's loss.
      child.stdin?.on("error", () => {}).end(input);
    });
  }

  /** The words of a command line for this server, for who runs it by other means. */
  async command(...args: string[]): Promise<readonly string[]> {
    const config = join(this.#folder, "crictl.yaml");
    const { endpoint } = this.#server;
    await mkdir(this.#folder, { recursive: true });
    await writeFile(config, `runtime-endpoint: ${endpoint}\nimage-endpoint: ${endpoint}\ntimeout: ${patience(30)}\n`);
    return [tool("crictl"), `--config=${config}`, ...args];
  }

  /** A command with JSON output. The caller names the part of the answer that it reads. */
  async json<Answer>(command: string, ...args: string[]): Promise<Answer> {
    return JSON.parse(await this.run(command, "--output=json", ...args));
  }

  /** Writes a configuration file and answers its path. */
  async file(config: object): Promise<string> {
    await mkdir(this.#folder, { recursive: true });
    this.#files += 1;
    const path = join(this.#folder, `${this.#files}.json`);
    await writeFile(path, JSON.stringify(config));
    return path;
  }

  /** The log folder of a sandbox, made as a kubelet makes it before it calls. */
  async logDirectory(sandbox: string): Promise<string> {
    const path = join(this.#folder, "logs", sandbox);
    await mkdir(path, { recursive: true });
    return path;
  }
}

import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { promisify } from "node:util";
import { ProcessOperations } from "./process-operations.test-support.ts";

const execute = promisify(execFile);

/** A host of the test's own: network and mount namespace, with /run to itself. */
export class Host implements AsyncDisposable {
  readonly operations: ProcessOperations;
  readonly #keeper: ChildProcess;
  readonly #prefix: readonly string[];

  constructor(keeper: ChildProcess) {
    const proc = `/proc/${keeper.pid}/ns`;
    this.#keeper = keeper;
    this.#prefix = ["/usr/bin/nsenter", `--net=${proc}/net`, `--mount=${proc}/mnt`, "--"];
    this.operations = new ProcessOperations(this.#prefix);
  }

  static async create(): Promise<Host> {
    const script = "mount --make-rshared / && mount -t tmpfs run /run && ip link set lo up && echo ready && exec cat";
    const keeper = spawn("unshare", ["--net", "--mount", "sh", "-c", script], { stdio: ["pipe", "pipe", "inherit"] });
    const [line]: unknown[] = await once(keeper.stdout, "data");
    assert.equal(String(line), "ready\n");
    return new Host(keeper);
  }

  async sh(script: string): Promise<string> {
    const [file = "", ...args] = [...this.#prefix, "sh", "-c", script];
    const { stdout } = await execute(file, args, { timeout: 60_000, killSignal: "SIGKILL" });
    return stdout;
  }

  spawn(...argv: readonly string[]) {
    const [file = "", ...args] = [...this.#prefix, ...argv];
    return spawn(file, args, { stdio: ["ignore", "pipe", "inherit"] });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#keeper, "close");
    this.#keeper.stdin?.end();
    await closed;
  }
}

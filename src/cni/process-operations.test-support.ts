import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Operations, RunRequest, RunResult } from "../launcher/operations.ts";

/**
 * For tests: the launcher's `run` by child processes, with its bounds and its deadline. `prefix` is put before
 * every argv, e.g. to enter the namespaces of a test. `ran` lists what was run.
 */
export class ProcessOperations implements Operations {
  readonly ran: RunRequest[] = [];
  readonly #prefix: readonly string[];

  constructor(prefix: readonly string[] = []) {
    this.#prefix = prefix;
  }

  async run(request: RunRequest, signal?: AbortSignal): Promise<RunResult> {
    signal?.throwIfAborted();
    this.ran.push(request);
    const [file = "", ...args] = [...this.#prefix, ...request.argv];
    const child = spawn(file, args, { env: request.env, cwd: request.cwd ?? "/", detached: true, stdio: "pipe" });
    const stdout = gather(child.stdout, 128 * 1024);
    const stderr = gather(child.stderr, 64 * 1024);
    child.stdin.on("error", () => undefined); // a plugin need not read its input
    await once(child, "spawn");
    let timedOut = false;
    const kill = () => void (child.pid !== undefined && killGroup(child.pid));
    const timer = setTimeout(() => {
      timedOut = true;
      kill();
    }, request.deadlineMs);
    signal?.addEventListener("abort", kill, { once: true });
    child.stdin.end(request.stdin ?? Buffer.alloc(0));
    await once(child, "close");
    clearTimeout(timer);
    signal?.removeEventListener("abort", kill);
    const outcome = timedOut ? "timedOut" : child.signalCode === null ? "exited" : "signaled";
    const status = child.exitCode ?? 9;
    const truncated = stdout.truncated() || stderr.truncated();
    return { outcome, status, stdout: stdout.bytes(), stderr: stderr.bytes(), truncated };
  }

  perform(): Promise<readonly Buffer[]> {
    return Promise.reject(new Error("this stand-in for the launcher only runs executables"));
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // gone already
  }
}

function gather(stream: NodeJS.ReadableStream, max: number) {
  const chunks: Buffer[] = [];
  let size = 0;
  stream.on("data", (chunk: Buffer) => {
    if (size < max) chunks.push(chunk);
    size += chunk.length;
  });
  return { bytes: () => Buffer.concat(chunks).subarray(0, max), truncated: () => size > max };
}

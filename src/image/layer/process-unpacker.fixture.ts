import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Unpacker } from "../unpacker.ts";

/** The binary under test. */
export const nativePath = process.env.NACELLE_NATIVE ?? join(import.meta.dirname, "../../../build/nacelle-native");

/** For tests: the launcher's START_UNPACK by child processes. Disposing ends all of them. */
export class ProcessUnpacker implements Unpacker, Disposable {
  readonly #directory = mkdtempSync(join(tmpdir(), "nacelle-unpack-"));
  readonly #ends: (() => void)[] = [];
  #count = 0;
  /** Processes that were started and have not ended. */
  running = 0;

  async startUnpack(dir: string): Promise<{ readonly socketPath: string }> {
    const socketPath = join(this.#directory, String(++this.#count));
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      server.close();
      const child = spawn(nativePath, ["unpack", dir], { stdio: ["pipe", "pipe", "inherit"] });
      this.running += 1;
      this.#ends.push(() => child.kill("SIGKILL"));
      socket.pipe(child.stdin).on("error", () => {});
      child.stdout.pipe(socket).on("error", () => {});
      socket.on("close", () => child.stdin.end());
      child.on("exit", () => {
        this.running -= 1;
      });
    });
    this.#ends.push(() => server.close());
    await new Promise<void>((resolve) => server.listen(socketPath, resolve));
    return { socketPath };
  }

  [Symbol.dispose](): void {
    for (const end of this.#ends) end();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

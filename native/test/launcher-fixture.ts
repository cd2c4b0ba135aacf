/** Launchers for tests, each with directories and cgroups of its own that are gone afterwards. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { patience } from "../../conformance/harness/patience.ts";
import { Launcher } from "../../src/launcher/launcher.ts";
import type { OperationOptions } from "../../src/launcher/operations.ts";
import type { Exited } from "../../src/launcher/protocol.ts";
import { encodeFrame, type Frame, FrameReader, PayloadWriter } from "../../src/lib/wire.ts";

export const binary = process.env.NACELLE_NATIVE ?? join(import.meta.dirname, "../../build/nacelle-native");
export const options: OperationOptions = { owner: "sb1", what: "a test", deadlineMs: patience(10_000) };

export class Site implements AsyncDisposable {
  readonly dir = mkdtempSync(join(tmpdir(), "launcher-"));
  readonly runDir = join(this.dir, "run");
  readonly cgroup = `nacelle-test-${process.pid}-${this.dir.slice(-6)}`;
  readonly said: string[] = [];
  readonly #launchers: Launcher[] = [];
  readonly #exits = new Map<string, PromiseWithResolvers<Exited>>();

  constructor() {
    mkdirSync(this.runDir, { mode: 0o700 });
  }

  async start(epoch = 1n): Promise<Launcher> {
    const launcher = await Launcher.start({
      binary,
      runDir: this.runDir,
      epoch,
      cgroup: this.cgroup,
      log: (line) => this.said.push(line),
      onExited: (exited) => this.#exit(exited.key).resolve(exited),
    });
    this.#launchers.push(launcher);
    return launcher;
  }

  exited(key: string): Promise<Exited> {
    return this.#exit(key).promise;
  }

  /** Names of the operations that are recorded. */
  records(): string[] {
    return readdirSync(join(this.runDir, "ops"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const launcher of this.#launchers) await launcher[Symbol.asyncDispose]();
    const last = await Launcher.start({
      binary,
      runDir: this.runDir,
      epoch: 2n ** 63n,
      cgroup: "",
      log: () => undefined,
      onExited: () => undefined,
    });
    const paths = this.cgroups();
    await last.perform(
      [
        { op: "killCgroup", paths },
        { op: "removeCgroup", paths },
      ],
      options,
    );
    await last[Symbol.asyncDispose]();
    rmSync(this.dir, { recursive: true });
  }

  /** Its cgroup in every hierarchy where there is one. */
  cgroups(): string[] {
    return mounts(/^cgroup2?$/).flatMap((mount) =>
      readdirSync(mount).includes(this.cgroup) ? [join(mount, this.cgroup)] : [],
    );
  }

  #exit(key: string): PromiseWithResolvers<Exited> {
    return this.#exits.getOrInsertComputed(key, () => Promise.withResolvers<Exited>());
  }
}

/** Mount points of a file system type. */
export function mounts(type: RegExp): string[] {
  return readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" "))
    .flatMap(([, target = "", kind = ""]) => (type.test(kind) ? [target] : []));
}

/** A launcher spoken to byte by byte. */
export class RawLauncher implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly socket: Duplex;
  readonly frames: Frame[] = [];
  readonly exited: Promise<unknown>;
  /** What it wrote to its log: a sanitizer's report, for one. */
  said = "";
  readonly #reader = new FrameReader();
  #wake = Promise.withResolvers<void>();

  constructor(argv: readonly string[]) {
    const [file = "", ...rest] = argv;
    this.child = spawn(file, rest, { stdio: ["ignore", "ignore", "pipe", "pipe"] });
    this.child.stderr?.on("data", (chunk: Buffer) => {
      this.said += String(chunk);
    });
    this.exited = once(this.child, "exit");
    const socket = this.child.stdio[3];
    if (!(socket instanceof Duplex)) throw new Error("no socket");
    this.socket = socket;
    socket.on("error", () => undefined);
    socket.on("close", () => this.#wake.resolve());
    socket.on("data", (chunk: Buffer) => {
      this.frames.push(...this.#reader.push(chunk));
      this.#wake.resolve();
      this.#wake = Promise.withResolvers<void>();
    });
  }

  send(type: number, seq: bigint, payload: Buffer): void {
    this.socket.write(encodeFrame(type, seq, payload));
  }

  hello(epoch = 1n): void {
    this.send(0x0101, 1n, new PayloadWriter().u16(1).u16(1).u64(epoch).u8(1).done());
  }

  /** The reply to a request; undefined when the connection ended before. */
  async reply(seq: bigint): Promise<Frame | undefined> {
    for (;;) {
      const frame = this.frames.find((candidate) => candidate.seq === seq);
      if (frame !== undefined || this.socket.destroyed) return frame;
      await this.#wake.promise;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy();
    await this.exited;
  }
}

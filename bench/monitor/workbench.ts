import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Node, RUNTIME_ENV, type Sandbox, which } from "../../native/test/monitor-fixture.ts";
import { encodeFrame } from "../../src/lib/wire.ts";
import { nextSeq } from "../../src/monitor/connection.ts";
import { encodeHello, MESSAGE } from "../../src/monitor/protocol.ts";
import { Stopwatch } from "./stopwatch.ts";

const build = join(import.meta.dirname, "../../build/bench");
const TICKS_PER_SECOND = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));

/** How much is measured. */
export interface Extent {
  readonly rounds: number;
  readonly megabytes: number;
  readonly pods: number;
  readonly samples: number;
  readonly kills: number;
  readonly execs: number;
}

/** A launcher with monitors and a root file system that holds the writer, and the stopwatch's program. */
export class Workbench implements AsyncDisposable {
  readonly extent: Extent;
  readonly node: Node;
  readonly crun = which("crun");
  readonly writer = join(build, "writer");
  /** A runtime whose execs are one fork. */
  readonly quick = join(build, "quick");
  readonly say: (line: string) => void;

  private constructor(extent: Extent, say: (line: string) => void) {
    this.extent = extent;
    this.say = say;
    this.node = new Node();
    copyFileSync(this.writer, join(this.node.rootfs, "bin/writer"));
  }

  /** Only inside `harness/isolate`. Throws where logs would go into memory. */
  static async start(extent: Extent, say: (line: string) => void): Promise<Workbench> {
    compile("writer", "stopwatch", "quick");
    await using undo = new AsyncDisposableStack();
    const bench = undo.use(new Workbench(extent, say));
    if (["tmpfs", "ramfs"].includes(bench.fileSystem)) {
      throw new Error(`${bench.node.dir} is in memory: set TMPDIR to a folder on a disk`);
    }
    undo.move();
    return bench;
  }

  /** The kind of file system that holds the logs. */
  get fileSystem(): string {
    const said = execFileSync("df", ["--output=fstype", this.node.dir], { encoding: "utf8" });
    return said.trim().split("\n").at(-1) ?? "";
  }

  /** A stopwatch on a sandbox's monitor, or without one. */
  stopwatch(sandbox?: Sandbox): Stopwatch {
    const hello = encodeFrame(MESSAGE.hello, nextSeq(), encodeHello(1n, "control"));
    const monitor = sandbox === undefined ? undefined : ([sandbox.place.socketPath, hello] as const);
    return new Stopwatch(join(build, "stopwatch"), monitor, RUNTIME_ENV);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.node[Symbol.asyncDispose]();
  }
}

/** A frame for the stopwatch to send. */
export function frameOf(type: number, payload: Buffer): string {
  return encodeFrame(type, nextSeq(), payload).toString("hex");
}

/** Processor time of a living process with all of its threads, in seconds. */
export function processorSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

export function secondsOfTicks(ticks: number): number {
  return ticks / TICKS_PER_SECOND;
}

function compile(...names: readonly string[]): void {
  mkdirSync(build, { recursive: true });
  for (const name of names) {
    const source = join(import.meta.dirname, `${name}.c`);
    execFileSync("gcc", [
      "-std=gnu17",
      "-O2",
      "-Wall",
      "-Wextra",
      "-Werror",
      "-static",
      "-o",
      join(build, name),
      source,
    ]);
  }
}

/** A launcher, monitors that it forks, and containers of busybox that they hold: what the monitor's tests stand on. */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  accessSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Duplex } from "node:stream";
import { fileURLToPath } from "node:url";
import { until } from "../../conformance/harness/until.ts";
import { encodeFrame, type Frame, FrameReader, PayloadReader, PayloadWriter } from "../../src/lib/wire.ts";
import { Monitor } from "../../src/monitor/monitor.ts";
import type { MonitorError } from "../../src/monitor/monitor-error.ts";
import type { SeenExit } from "../../src/monitor/monitored-container.ts";
import type { CreateRequest, ExecRequest } from "../../src/monitor/protocol.ts";
import type { MonitorSession } from "../../src/monitor/session.ts";
import type { ExecStreamRequest } from "../../src/monitor/stream-protocol.ts";
import { inTime } from "./in-time.ts";

const BINARY =
  process.env.NACELLE_NATIVE ?? join(dirname(fileURLToPath(import.meta.url)), "../../build/nacelle-native");
export const RUNTIME_ENV = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];
const APPLETS = [
  "sh",
  "true",
  "false",
  "sleep",
  "cat",
  "echo",
  "dd",
  "yes",
  "seq",
  "setsid",
  "kill",
  "head",
  "ulimit",
  "tr",
  "stty",
  "tty",
  "wc",
];

/** Where an executable is, as a shell would find it. */
export function which(name: string): string {
  const path = (process.env.PATH ?? "").split(":").map((dir) => join(dir, name));
  const found = path.find((file) => existsSync(file));
  if (found === undefined) throw new Error(`${name} is not installed`);
  accessSync(found, constants.X_OK);
  return found;
}

/** The launcher of one test file, with a root file system that all its containers share. */
export class Node implements AsyncDisposable {
  readonly dir = mkdtempSync(join(tmpdir(), "m"));
  readonly rootfs = join(this.dir, "rootfs");
  readonly #child: ChildProcess;
  readonly #socket: Duplex;
  readonly #frames = new FrameReader();
  readonly #waiting: ((frame: Frame) => void)[] = [];
  readonly #monitors: number[] = [];
  #count = 0;

  /** `wrapper` starts the launcher, if there is one; what that says is for `hear`. */
  constructor(wrapper: readonly string[] = [], hear: (said: string) => void = () => undefined, binary = BINARY) {
    makeRootfs(this.rootfs);
    mkdirSync(join(this.dir, "run"));
    const [command = "", ...args] = [...wrapper, binary, "launcher", join(this.dir, "run"), "1", "nacelle-test"];
    this.#child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit", "pipe"] });
    this.#child.stdout?.setEncoding("utf8").on("data", hear);
    this.#socket = this.#child.stdio[3] as Duplex;
    this.#socket.on("data", (chunk: Buffer) => {
      for (const frame of this.#frames.push(chunk)) this.#waiting.shift()?.(frame);
    });
    this.#socket.on("error", () => undefined);
  }

  /** Of the launcher. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Forks a monitor and connects to it. */
  async sandbox(epoch = 1n): Promise<Sandbox> {
    return await Sandbox.connect(await this.place(), epoch);
  }

  /** Forks a monitor. */
  async place(): Promise<Place> {
    if (this.#count === 0) await this.#request(0x0101, new PayloadWriter().u16(1).u16(1).u64(1n).u8(1).done());
    this.#count += 1;
    const dir = join(this.dir, `s${this.#count}`);
    mkdirSync(dir);
    const socketPath = join(dir, "m.sock");
    const payload = new PayloadWriter().str(`sandbox-${this.#count}`).str(socketPath).str(dir).done();
    const pid = new PayloadReader(await this.#request(0x0204, payload)).u32();
    this.#monitors.push(pid);
    return { dir, socketPath, pid, rootfs: this.rootfs };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pid of this.#monitors) killIfAlive(pid);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#child.once("exit", () => resolve());
    this.#socket.destroy();
    await promise;
    rmSync(this.dir, { recursive: true, force: true });
  }

  async #request(type: number, payload: Buffer): Promise<Buffer> {
    const { promise, resolve } = Promise.withResolvers<Frame>();
    this.#waiting.push(resolve);
    this.#socket.write(encodeFrame(type, BigInt(this.#count + 1), payload));
    const frame = await promise;
    if (frame.isError) throw new Error(`launcher: ${frame.payload.toString("latin1")}`);
    return frame.payload;
  }
}

export interface Place {
  readonly dir: string;
  readonly socketPath: string;
  readonly pid: number;
  readonly rootfs: string;
}

/** One monitor and the connection of a daemon to it. */
export class Sandbox implements Disposable {
  readonly place: Place;
  readonly logNews: (string | number | bigint)[] = [];
  readonly lost: Promise<MonitorError>;
  #monitor: Monitor | undefined;
  readonly #exits = new Map<string, PromiseWithResolvers<SeenExit>>();
  readonly #lose: (error: MonitorError) => void;
  onLogNews: () => void = () => undefined;
  /** What is told of limits, memory and health, for `told`. */
  readonly #told: object[] = [];
  #onTold: () => void = () => undefined;

  private constructor(place: Place) {
    this.place = place;
    const { promise, resolve } = Promise.withResolvers<MonitorError>();
    this.lost = promise;
    this.#lose = resolve;
  }

  static async connect(place: Place, epoch: bigint): Promise<Sandbox> {
    const sandbox = new Sandbox(place);
    sandbox.#monitor = await Monitor.connect({
      socketPath: place.socketPath,
      epoch,
      onExit: (container) => sandbox.#exit(container.id).resolve(container),
      onLost: (error) => sandbox.#lose(error),
      onLogError: (event) => sandbox.#news("error", event.errno),
      onLogRecovered: (event) => sandbox.#news("recovered", event.lostBytes, event.lostLines ?? 0n),
      onLogLimit: (event) => sandbox.#tell(event),
      onOom: (event) => sandbox.#tell(event),
      onHealth: (event) => sandbox.#tell(event),
    });
    return sandbox;
  }

  get monitor(): Monitor {
    if (this.#monitor === undefined) throw new Error("not connected");
    return this.#monitor;
  }

  /** The EXIT event of a container. Rejects when it does not come. */
  exited(id: string): Promise<SeenExit> {
    return inTime(`EXIT of ${id}`, this.#exit(id).promise);
  }

  [Symbol.dispose](): void {
    this.#monitor?.close();
    killIfAlive(this.place.pid);
  }

  #exit(id: string): PromiseWithResolvers<SeenExit> {
    const known = this.#exits.get(id) ?? Promise.withResolvers<SeenExit>();
    this.#exits.set(id, known);
    return known;
  }

  /** The next LOG_LIMIT, OOM or HEALTH event. Rejects when none comes. */
  async told(): Promise<object> {
    for (;;) {
      const event = this.#told.shift();
      if (event !== undefined) return event;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onTold = resolve;
      await inTime("LOG_LIMIT, OOM or HEALTH", promise);
    }
  }

  #tell(event: object): void {
    this.#told.push(event);
    this.#onTold();
  }

  #news(...words: (string | number | bigint)[]): void {
    this.logNews.push(...words);
    this.onLogNews();
  }
}

export interface Bundle {
  readonly id: string;
  readonly runtime: string;
  readonly root: string;
  readonly bundle: string;
  readonly logPath: string;
  readonly process: Record<string, unknown>;
}

/** Writes the bundle of a container that runs `args`. */
export function bundle(place: Place, runtime: string, id: string, args: readonly string[], extra: object = {}): Bundle {
  const dir = join(place.dir, id);
  mkdirSync(dir);
  const name = `nacelle-test-${process.pid}-${place.pid}-${id}`;
  const process_ = {
    terminal: false,
    user: { uid: 0, gid: 0 },
    args,
    env: ["PATH=/bin"],
    cwd: "/",
    noNewPrivileges: true,
    capabilities: { bounding: [], effective: [], permitted: [] },
    ...extra,
  };
  const namespaces = ["pid", "mount", "ipc", "uts"].map((type) => ({ type }));
  const spec = {
    ociVersion: "1.0.2",
    process: process_,
    root: { path: place.rootfs, readonly: true },
    mounts: [
      { destination: "/proc", type: "proc", source: "proc" },
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
      {
        destination: "/dev/pts",
        type: "devpts",
        source: "devpts",
        options: ["newinstance", "ptmxmode=0666", "mode=0620"],
      },
    ],
    linux: { cgroupsPath: `/${name}`, namespaces },
  };
  writeFileSync(join(dir, "config.json"), JSON.stringify(spec));
  const root = join(place.dir, `root-${id}`);
  return { id, runtime: which(runtime), root, bundle: dir, logPath: join(dir, "0.log"), process: process_ };
}

export function createRequest(b: Bundle, change: Partial<CreateRequest> = {}): CreateRequest {
  return {
    argv: [
      b.runtime,
      "--root",
      b.root,
      "--log",
      "@log",
      "create",
      "--bundle",
      b.bundle,
      "--pid-file",
      "@pid-file",
      ...(change.terminal ? ["--console-socket", "@console"] : []),
      b.id,
    ],
    env: RUNTIME_ENV,
    deadlineMs: 30_000,
    cwd: b.bundle,
    logPath: b.logPath,
    uid: 0,
    gid: 0,
    stdin: false,
    ...change,
  };
}

export function startCall(b: Bundle): { argv: string[]; env: string[]; deadlineMs: number } {
  return { argv: [b.runtime, "--root", b.root, "--log", "@log", "start", b.id], env: RUNTIME_ENV, deadlineMs: 30_000 };
}

export function execRequest(b: Bundle, args: readonly string[], change: Partial<ExecRequest> = {}): ExecRequest {
  const files = ["--log", "@log", "exec", "--detach", "--pid-file", "@pid-file", "--process", "@process"];
  return {
    argv: [b.runtime, "--root", b.root, ...files, b.id],
    env: RUNTIME_ENV,
    deadlineMs: 30_000,
    timeoutMs: 0,
    maxOutput: 1 << 20,
    process: Buffer.from(JSON.stringify({ ...b.process, args })),
    ...change,
  };
}

/** EXEC_STREAM with all streams, or with a terminal. */
export function streamRequest(
  b: Bundle,
  args: readonly string[],
  change: Partial<ExecStreamRequest> = {},
): ExecStreamRequest {
  const terminal = change.terminal === true;
  const console = terminal ? ["--console-socket", "@console"] : [];
  const files = ["--log", "@log", "exec", "--detach", "--pid-file", "@pid-file", "--process", "@process", ...console];
  return {
    argv: [b.runtime, "--root", b.root, ...files, b.id],
    env: RUNTIME_ENV,
    deadlineMs: 30_000,
    stdin: true,
    stdout: true,
    stderr: !terminal,
    terminal,
    width: 0,
    height: 0,
    process: Buffer.from(JSON.stringify({ ...b.process, terminal, args })),
    ...change,
  };
}

/** A session on a data connection; disposing of it ends it. */
export function exec(
  s: Sandbox,
  b: Bundle,
  args: readonly string[],
  change: Partial<ExecStreamRequest> = {},
): Promise<MonitorSession> {
  return s.monitor.exec(b.id, streamRequest(b, args, change), new AbortController().signal);
}

/** All that a session says, to its end. */
export async function collect(session: MonitorSession): Promise<{ stdout: string; stderr: string; lost: number }> {
  const said = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  let lost = 0;
  for await (const output of session.output) {
    if ("data" in output) said[output.stream].push(output.data);
    else lost += Number(output.lostBytes);
  }
  return { stdout: Buffer.concat(said.stdout).toString(), stderr: Buffer.concat(said.stderr).toString(), lost };
}

/** Reads until the session has said this. */
export async function hears(session: MonitorSession, text: string): Promise<void> {
  let heard = "";
  for await (const output of session.output) {
    if ("data" in output) heard += output.data.toString();
    if (heard.includes(text)) return;
  }
  throw new Error(`ended without ${JSON.stringify(text)}: ${JSON.stringify(heard)}`);
}

/** CREATE and START of a container. */
export async function run(
  s: Sandbox,
  runtime: string,
  id: string,
  args: readonly string[],
  extra: object = {},
  change: Partial<CreateRequest> = {},
): Promise<Bundle> {
  const b = bundle(s.place, runtime, id, args, extra);
  await s.monitor.create(id, createRequest(b, change));
  await s.monitor.start(id, startCall(b));
  return b;
}

/** Ends a container and everything that the runtime keeps of it. */
export async function remove(s: Sandbox, b: Bundle): Promise<void> {
  const [found] = (await s.monitor.snapshot()).filter((c) => c.id === b.id);
  const argv = [b.runtime, "--root", b.root, "delete", "--force", b.id];
  await s.monitor.runtime("/", { argv, env: RUNTIME_ENV, deadlineMs: 30_000 });
  if (found === undefined) return;
  if (found.state !== "exited") await s.exited(b.id);
  await s.monitor.ackExit(b.id);
  await s.monitor.release(b.id);
}

/** An executable shell script. */
export function script(place: Place, name: string, body: string): string {
  const path = join(place.dir, name);
  writeFileSync(path, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
  return path;
}

/** The texts of a CRI log by stream; fails on any line that is not a record. */
export function parseLog(content: string): { stdout: string; stderr: string; records: number } {
  const texts = { stdout: "", stderr: "", records: 0 };
  const lines = content.split("\n");
  if (lines.pop() !== "") throw new Error("the log ends amid a record");
  for (const line of lines) {
    const match = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) ([FP]) ([\s\S]*)$/.exec(line);
    if (match === null) throw new Error(`not a record: ${line.slice(0, 120)}`);
    texts[match[1] === "stderr" ? "stderr" : "stdout"] += (match[3] ?? "") + (match[2] === "F" ? "\n" : "");
    texts.records += 1;
  }
  return texts;
}

/** How many descriptors the monitor has open. */
export function openFds(s: Sandbox): number {
  return readdirSync(`/proc/${s.place.pid}/fd`).length;
}

/** Waits until the monitor has no more descriptors open than that. */
export async function noMoreOpen(s: Sandbox, fds: number): Promise<void> {
  await until(`the monitor has ${fds} descriptors open`, () => openFds(s) <= fds);
}

function killIfAlive(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // gone already
  }
}

function makeRootfs(root: string): void {
  const busybox = which("busybox");
  for (const dir of ["bin", "proc", "dev", "sys", "tmp", "etc"]) mkdirSync(join(root, dir), { recursive: true });
  copyFileSync(busybox, join(root, "bin/busybox"));
  for (const applet of APPLETS) symlinkSync("busybox", join(root, "bin", applet));
  const libraries = execFileSync("ldd", [busybox], { encoding: "utf8" }).match(/\/\S+/g) ?? [];
  for (const file of libraries) {
    mkdirSync(join(root, dirname(file)), { recursive: true });
    copyFileSync(file, join(root, file));
  }
}

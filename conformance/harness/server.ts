import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { cgroupDriver } from "./cgroup-driver.ts";
import { appeared } from "./event.ts";
import { requireIsolation } from "./isolation.ts";
import { unmountBelow } from "./mounts.ts";
import { type CniFiles, registriesConf, writeCni } from "./node-files.ts";
import { patience } from "./patience.ts";
import { Daemon } from "./process.ts";

const executable = join(import.meta.dirname, "../../bin/nacelle");
/** Not the machine's own, which a server uses when nothing is said. */
const compileCache = join(import.meta.dirname, "../../build/compile-cache");
const startMs = patience(30_000);

/** What a server under test is started with. */
export interface ServerOptions {
  readonly defaultRuntime?: "runc" | "crun";
  /** `host:port` of the registry that stands in for all others. */
  readonly mirror?: string;
  /** Further `--set key=value`. */
  readonly settings?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
}

/** Where a server under test keeps what; everything is below `folder`. */
export interface ServerPaths {
  readonly folder: string;
  readonly socket: string;
  readonly root: string;
  readonly runDir: string;
  readonly netnsDir: string;
  readonly log: string;
  readonly cni: CniFiles;
}

/** A nacelle server with state, run files, network configuration and namespaces of its own. Disposing it ends it and deletes its folder. */
export class Server implements AsyncDisposable {
  readonly paths: ServerPaths;
  readonly #options: ServerOptions;
  #daemon: Daemon;

  private constructor(paths: ServerPaths, options: ServerOptions, daemon: Daemon) {
    this.paths = paths;
    this.#options = options;
    this.#daemon = daemon;
  }

  /** Resolves when it answers Version. Only inside `harness/isolate`. */
  static async start(options: ServerOptions = {}): Promise<Server> {
    await requireIsolation();
    await using undo = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), "n-"));
    undo.defer(() => removeTree(folder));
    // As /var/lib and /run are: the root of a pod with ids of its own passes through.
    await chmod(folder, 0o711);
    const paths = await prepare(folder, options);
    const daemon = await launch(paths, options);
    undo.move();
    return new Server(paths, options, daemon);
  }

  get endpoint(): string {
    return `unix://${this.paths.socket}`;
  }

  get pid(): number {
    return this.#daemon.pid;
  }

  get isRunning(): boolean {
    return this.#daemon.running;
  }

  /** SIGTERM, as an upgrade does: answers how the process ended. Pods go on. */
  async stop(): Promise<string> {
    return await this.#daemon.stop();
  }

  /** SIGKILL: what a crash leaves is what the next start finds. */
  async kill(): Promise<void> {
    this.#daemon.signal("SIGKILL");
    await this.#daemon.exited();
  }

  /** Starts it again on the same state after stop() or kill(). */
  async restart(): Promise<void> {
    if (this.#daemon.running) throw new Error("the server still runs");
    await rm(this.paths.socket, { force: true });
    this.#daemon = await launch(this.paths, this.#options);
  }

  /** The end of what it logged, over all its lives. */
  async logTail(lines = 60): Promise<string> {
    return await this.#daemon.tail(lines);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon[Symbol.asyncDispose]();
    await removeTree(this.paths.folder);
  }
}

/** Deletes a folder without following what a failed test left mounted in it. */
async function removeTree(folder: string): Promise<void> {
  await unmountBelow(folder);
  await rm(folder, { recursive: true, force: true });
}

async function prepare(folder: string, options: ServerOptions): Promise<ServerPaths> {
  for (const name of ["root", "run", "netns"]) await mkdir(join(folder, name), { mode: 0o711 });
  const registries = options.mirror === undefined ? "" : registriesConf(options.mirror);
  await writeFile(join(folder, "registries.conf"), registries);
  return {
    folder,
    socket: join(folder, "run/nacelle.sock"),
    root: join(folder, "root"),
    runDir: join(folder, "run"),
    netnsDir: join(folder, "netns"),
    log: join(folder, "log"),
    cni: await writeCni(folder),
  };
}

async function launch(paths: ServerPaths, options: ServerOptions): Promise<Daemon> {
  const settings = {
    listen: paths.socket,
    root: paths.root,
    runDir: paths.runDir,
    netnsDir: paths.netnsDir,
    "cni.confDir": paths.cni.confDir,
    "registries.configFile": join(paths.folder, "registries.conf"),
    defaultRuntime: options.defaultRuntime ?? "runc",
    cgroupDriver,
    ...options.settings,
  };
  const args = Object.entries(settings).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
  const env = { ...process.env, NODE_COMPILE_CACHE: compileCache, ...options.env };
  const daemon = await Daemon.start([executable, "serve", ...args], paths.log, env);
  try {
    await daemon.until((signal) => ready(paths.socket, signal), startMs);
  } catch (error) {
    await daemon[Symbol.asyncDispose]();
    throw error;
  }
  return daemon;
}

/** The socket is there and Version answers on it. */
async function ready(socket: string, signal: AbortSignal): Promise<void> {
  await appeared(socket, signal);
  const client = new Client(`unix://${socket}`, credentials.createInsecure(), {
    "grpc.initial_reconnect_backoff_ms": 20, // bound, but not listened on yet: for microseconds
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // An empty VersionRequest is no bytes, and the answer's content does not matter here.
  const bytes = (value: Buffer) => value;
  client.makeUnaryRequest(
    "/runtime.v1.RuntimeService/Version",
    bytes,
    bytes,
    Buffer.alloc(0),
    new Metadata({ waitForReady: true }),
    { deadline: Date.now() + startMs },
    (error) => (error === null ? resolve() : reject(error)),
  );
  try {
    await promise;
  } finally {
    client.close();
  }
}

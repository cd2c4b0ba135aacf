import { constants, type FSWatcher, watch } from "node:fs";
import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { DomainError, hasCode, messageOf } from "../lib/errors.ts";
import {
  type ConfigFile,
  chooseNetwork,
  isConfigFileName,
  MAX_CONFIG_BYTES,
  type NetworkConfig,
  type SkippedFile,
} from "./network-config.ts";
import { findPlugins } from "./plugin-path.ts";

/** Where to look, and how often. */
export interface ConfigWatchOptions {
  readonly confDir: string;
  readonly binDirs: readonly string[];
  /**
   * Asked about every network before it is used, and again now and then: resolves with the network as it shall
   * be used, rejects while it cannot take sandboxes (`admitNetwork`).
   */
  readonly admit?: (network: NetworkConfig, signal: AbortSignal) => Promise<NetworkConfig>;
  /** Called after each change of what `status` or `current` answer; must not throw. */
  readonly onChange?: () => void;
  /** How often the directory is read where the kernel does not tell of changes, or a problem lasts. */
  readonly pollMs?: number;
  /** False: poll only. */
  readonly notify?: boolean;
}

type NetworkState = { readonly network: NetworkConfig } | { readonly problem: string };

/** Writers replace several files at once: wait until they are quiet. */
const DEBOUNCE_MS = 100;
const POLL_MS = 5_000;
/** Even while notified: plugins are removed, directories replaced. */
const CALM_FACTOR = 6;
const MAX_FILES = 64;
const MAX_NAMED = 5;

/** Keeps in memory which network sandboxes are attached to. Answers never touch the disk. */
export class ConfigWatch implements AsyncDisposable {
  readonly #options: ConfigWatchOptions;
  readonly #closing = new AbortController();
  #state: NetworkState = { problem: "not read yet" };
  #skipped: readonly SkippedFile[] = [];
  #watcher: { readonly handle: FSWatcher; readonly inode: number } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #reading: Promise<void> | undefined;
  #changes = 0;

  private constructor(options: ConfigWatchOptions) {
    this.#options = options;
  }

  /** Resolves once the directory has been read; that it is absent or holds nothing valid is a status, no error. */
  static async open(options: ConfigWatchOptions): Promise<ConfigWatch> {
    const config = new ConfigWatch(options);
    await config.refresh();
    return config;
  }

  /** The network for new sandboxes. Throws `unavailable` with the text of `status`. */
  current(): NetworkConfig {
    if ("network" in this.#state) return this.#state.network;
    throw new DomainError("unavailable", `network is not ready: ${this.#state.problem}`);
  }

  /** For the NetworkReady condition; `reason` and `message` are empty when it is true. */
  status(): { readonly ready: boolean; readonly reason: string; readonly message: string } {
    if ("network" in this.#state) return { ready: true, reason: "", message: "" };
    return { ready: false, reason: "NetworkPluginNotReady", message: this.#state.problem };
  }

  /** Files that stand before the one in use and are not valid, with reasons. */
  skipped(): readonly SkippedFile[] {
    return this.#skipped;
  }

  /** Reads the directory now; resolves when what it held at the call is in use. */
  async refresh(): Promise<void> {
    while (this.#reading !== undefined) await this.#reading;
    const changes = this.#changes;
    this.#reading = this.#read();
    await this.#reading;
    this.#reading = undefined;
    this.#schedule(changes === this.#changes ? this.#pollMs() : DEBOUNCE_MS);
  }

  /** Waits for a read under way; nothing is reported afterwards. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#timer);
    this.#unwatch();
    await this.#reading;
    this.#unwatch();
    clearTimeout(this.#timer);
  }

  async #read(): Promise<void> {
    await this.#watchDirectory();
    const { confDir } = this.#options;
    const { state, skipped } = await this.#load().catch((error: unknown) => ({
      state: { problem: `no valid CNI configuration in ${confDir}: ${describe(error)}` },
      skipped: [],
    }));
    if (this.#closing.signal.aborted) return;
    const changed = JSON.stringify([state, skipped]) !== JSON.stringify([this.#state, this.#skipped]);
    this.#state = state;
    this.#skipped = skipped;
    if (changed) this.#options.onChange?.();
  }

  async #load(): Promise<{ state: NetworkState; skipped: readonly SkippedFile[] }> {
    const { confDir, binDirs, admit } = this.#options;
    const { chosen, skipped } = chooseNetwork(await readFiles(confDir));
    if (chosen === undefined) {
      return { state: { problem: `no valid CNI configuration in ${confDir}: ${summary(skipped)}` }, skipped };
    }
    try {
      const pluginPaths = await findPlugins(chosen.list, binDirs);
      const network = { ...chosen, pluginPaths, binDirs };
      return { state: { network: admit ? await admit(network, this.#closing.signal) : network }, skipped };
    } catch (error) {
      // Another file is no substitute: attaching sandboxes to another network in silence would be worse.
      return { state: { problem: `${join(confDir, chosen.file)}: ${messageOf(error)}` }, skipped };
    }
  }

  async #watchDirectory(): Promise<void> {
    const { confDir, notify = true } = this.#options;
    if (!notify) return;
    const inode = await stat(confDir).then(
      ({ ino }) => ino,
      () => undefined,
    );
    if (this.#watcher?.inode === inode || this.#closing.signal.aborted) return;
    this.#unwatch();
    if (inode === undefined) return;
    try {
      const handle = watch(confDir, { persistent: false }, (_, name) => this.#changed(name));
      handle.on("error", () => this.#unwatch());
      this.#watcher = { handle, inode };
    } catch {
      // No inotify instance left, or the directory went away: polling goes on.
    }
  }

  #unwatch(): void {
    this.#watcher?.handle.close();
    this.#watcher = undefined;
  }

  #changed(name: string | null): void {
    // Network daemons keep other files here that they rewrite often, such as credentials.
    if (name !== null && !isConfigFileName(name)) return;
    this.#changes++;
    if (this.#reading === undefined) this.#schedule(DEBOUNCE_MS);
  }

  #pollMs(): number {
    const { pollMs = POLL_MS } = this.#options;
    return this.#watcher !== undefined && "network" in this.#state ? pollMs * CALM_FACTOR : pollMs;
  }

  #schedule(delayMs: number): void {
    clearTimeout(this.#timer);
    if (this.#closing.signal.aborted) return;
    this.#timer = setTimeout(() => void this.refresh(), delayMs).unref();
  }
}

async function readFiles(confDir: string): Promise<readonly ConfigFile[]> {
  const names = (await readdir(confDir)).filter(isConfigFileName).toSorted();
  const files: ConfigFile[] = [];
  for (const name of names.slice(0, MAX_FILES)) files.push(await readConfigFile(join(confDir, name), name));
  return files;
}

/** Non-blocking, so that a FIFO in the directory cannot hold the reader. */
async function readConfigFile(path: string, name: string): Promise<ConfigFile> {
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    if (!(await file.stat()).isFile()) return { name, problem: "not a regular file" };
    const buffer = Buffer.allocUnsafe(MAX_CONFIG_BYTES + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length);
      length += bytesRead;
      if (length > MAX_CONFIG_BYTES) return { name, problem: "the file is larger than 1 MiB" };
      if (bytesRead === 0) return { name, text: buffer.toString("utf8", 0, length) };
    }
  } catch (error) {
    return { name, problem: describe(error) };
  }
}

function describe(error: unknown): string {
  if (hasCode(error, "ENOENT")) return "it does not exist";
  return hasCode(error, "EACCES") ? "permission denied" : messageOf(error);
}

function summary(skipped: readonly SkippedFile[]): string {
  if (skipped.length === 0) return "it holds no *.conflist, *.conf or *.json file";
  const named = skipped.slice(0, MAX_NAMED).map(({ name, reason }) => `${name}: ${reason}`);
  const more = skipped.length > MAX_NAMED ? [`and ${skipped.length - MAX_NAMED} more`] : [];
  return [...named, ...more].join("; ");
}

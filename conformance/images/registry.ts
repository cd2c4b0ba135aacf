import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, written } from "../harness/event.ts";
import { patience } from "../harness/patience.ts";
import { Daemon } from "../harness/process.ts";

/** Debian's docker-registry on a free port of 127.0.0.1, storing in a temporary folder that goes with it. */
export class Registry implements AsyncDisposable {
  readonly address: string;
  readonly #daemon: Daemon;
  readonly #folder: string;

  private constructor(address: string, daemon: Daemon, folder: string) {
    this.address = address;
    this.#daemon = daemon;
    this.#folder = folder;
  }

  /** Resolves when it answers; the one who called owns it. */
  static async start(): Promise<Registry> {
    await using undo = new AsyncDisposableStack();
    const folder = undo.adopt(await mkdtemp(join(tmpdir(), "nacelle-registry-")), remove);
    const address = `127.0.0.1:${await freePort()}`;
    const config = join(folder, "config.yml");
    await writeFile(config, configuration(address, join(folder, "storage")));
    const daemon = undo.use(await Daemon.start(["docker-registry", "serve", config], join(folder, "log")));
    await daemon.until((signal) => written(daemon.logFile, `listening on ${address}`, signal), patience(20_000));
    undo.move();
    return new Registry(address, daemon, folder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon[Symbol.asyncDispose]();
    await remove(this.#folder);
  }
}

async function remove(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
}

function configuration(address: string, storage: string): string {
  return `version: 0.1
log: {level: info, accesslog: {disabled: false}}
storage:
  filesystem: {rootdirectory: ${storage}}
  delete: {enabled: true}
http:
  addr: ${address}
  # Without a secret of its own it warns, and with two instances uploads fail.
  secret: only-for-tests
`;
}

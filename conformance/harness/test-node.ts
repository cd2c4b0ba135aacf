import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { builtLayout } from "../images/layout.ts";
import { pushLayout } from "../images/push.ts";
import { Registry } from "../images/registry.ts";
import { CriClient } from "./cri-client.ts";
import { busybox } from "./cri-configs.ts";
import { type CustomImage, pushCustomImages } from "./custom-image.ts";
import { assertNoStateRows, assertNothingLeaked, type Snapshot, snapshot } from "./leaks.ts";
import { Server, type ServerOptions } from "./server.ts";

/** A server with the busybox image and those asked for, a client of it and the memory of how the machine looked when it was idle. Disposing it ends all. */
export class TestNode implements AsyncDisposable {
  readonly server: Server;
  readonly cri: CriClient;
  readonly #owned: AsyncDisposableStack;
  readonly #clean: Snapshot;

  private constructor(server: Server, cri: CriClient, clean: Snapshot, owned: AsyncDisposableStack) {
    this.server = server;
    this.cri = cri;
    this.#clean = clean;
    this.#owned = owned;
  }

  /** Only inside `harness/isolate`. The image is there when this resolves; the registry that it came from is gone. */
  static async start(options: ServerOptions & { readonly images?: readonly CustomImage[] } = {}): Promise<TestNode> {
    const { images = [], ...serverOptions } = options;
    await using owned = new AsyncDisposableStack();
    const registry = owned.use(await Registry.start());
    await pushLayout(await builtLayout(), registry.address, [busybox]);
    if (images.length > 0) await pushCustomImages(images, registry.address);
    const server = owned.use(await Server.start({ mirror: registry.address, ...serverOptions }));
    const cri = owned.use(CriClient.connect(server.paths.socket));
    for (const image of [busybox, ...images.map(({ reference }) => reference)]) {
      await cri.call("PullImage", { image: { image } });
    }
    await registry[Symbol.asyncDispose]();
    return new TestNode(server, cri, await snapshot(server.paths), owned.move());
  }

  /** A folder for a sandbox's logs, made as a kubelet makes it before it calls. */
  async logDirectory(sandbox: string): Promise<string> {
    const path = join(this.server.paths.folder, "logs", sandbox);
    await mkdir(path, { recursive: true });
    return path;
  }

  /** Asserts that nothing is on the machine that was not there before the first pod. */
  async assertClean(deadlineMs?: number): Promise<void> {
    await assertNothingLeaked(this.#clean, this.server.paths, deadlineMs);
  }

  /** Ends the server and asserts that neither the machine nor the state database keeps anything of a pod. */
  async assertCleanEnd(): Promise<void> {
    await this.assertClean();
    await this.server.stop();
    await assertNoStateRows(this.server.paths);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

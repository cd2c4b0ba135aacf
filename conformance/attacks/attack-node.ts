import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CriClient } from "../harness/cri-client.ts";
import { containerConfig, type SandboxOptions, sandboxConfig } from "../harness/cri-configs.ts";
import { Server } from "../harness/server.ts";
import { writeLayout } from "../images/layout.ts";
import { type ImageShape, imageOf, type Layer, layerOf, type RunConfig } from "../images/oci.ts";
import { pushLayout } from "../images/push.ts";
import { Registry } from "../images/registry.ts";
import { busyboxSystem } from "../images/rootfs.ts";
import type { LayerEntry } from "../images/tar.ts";

/** An image of the attacker's making: a working system, and what is changed of it. */
export interface HostileImage {
  readonly name: string;
  readonly entries?: readonly LayerEntry[];
  readonly config?: RunConfig & {
    readonly Labels?: Readonly<Record<string, string>>;
    readonly WorkingDir?: string;
    readonly Volumes?: Readonly<Record<string, object>>;
  };
}

const shape: ImageShape = { format: "oci", list: false };

/** A server under attack: images as an attacker makes them, pods as a kubelet makes them. Disposing it ends all. */
export class AttackNode implements AsyncDisposable {
  readonly server: Server;
  readonly cri: CriClient;
  readonly #owned: AsyncDisposableStack;
  #pods = 0;

  private constructor(server: Server, cri: CriClient, owned: AsyncDisposableStack) {
    this.server = server;
    this.cri = cri;
    this.#owned = owned;
  }

  /** Only inside `harness/isolate`. Every image is pulled, by its name, when this resolves. */
  static async start(images: readonly HostileImage[] = [{ name: "plain" }]): Promise<AttackNode> {
    await using owned = new AsyncDisposableStack();
    const registry = owned.use(await Registry.start());
    const folder = owned.adopt(await mkdtemp(join(tmpdir(), "attack-")), (path) => rm(path, { recursive: true }));
    const base = layerOf(await busyboxSystem(), "oci", "gzip");
    await writeLayout(
      folder,
      images.map((image) => ({ references: [reference(image.name)], image: built(base, image) })),
    );
    await pushLayout(folder, registry.address);
    const server = owned.use(await Server.start({ mirror: registry.address }));
    const cri = owned.use(CriClient.connect(server.paths.socket));
    for (const { name } of images) await cri.call("PullImage", { image: { image: reference(name) } });
    return new AttackNode(server, cri, owned.move());
  }

  /** A ready sandbox. */
  async pod(options: SandboxOptions = {}): Promise<{ readonly id: string; readonly config: object }> {
    this.#pods += 1;
    const config = sandboxConfig(`attack-${this.#pods}`, options);
    const { podSandboxId } = await this.cri.call("RunPodSandbox", { config });
    return { id: podSandboxId, config };
  }

  /** A created container of a hostile image. */
  async create(
    pod: { readonly id: string; readonly config: object },
    image: string,
    change: object = {},
    options: Parameters<typeof containerConfig>[1] = {},
  ): Promise<string> {
    const config = { ...containerConfig(image, { ...options, image: reference(image) }), ...change };
    const request = { podSandboxId: pod.id, config, sandboxConfig: pod.config };
    return (await this.cri.call("CreateContainer", request)).containerId;
  }

  /** The same, started. */
  async run(...args: Parameters<AttackNode["create"]>): Promise<string> {
    const containerId = await this.create(...args);
    await this.cri.call("StartContainer", { containerId });
    return containerId;
  }

  /** Output and errors of a script in a container, together. */
  async shell(containerId: string, script: string): Promise<string> {
    const { stdout, stderr } = await this.cri.call("ExecSync", { containerId, cmd: ["sh", "-c", script] });
    return `${stdout}${stderr}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

function reference(name: string): string {
  return `docker.io/hostile/${name}:latest`;
}

function built(base: Layer, { entries = [], config = {} }: HostileImage) {
  const own = entries.length === 0 ? [] : [layerOf(entries, "oci", "gzip")];
  return imageOf([base, ...own], { Cmd: ["sh"], ...config }, shape);
}

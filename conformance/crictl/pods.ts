import { cgroupParent } from "../harness/cgroup-driver.ts";
import { Daemon } from "../harness/process.ts";
import { Server, type ServerOptions } from "../harness/server.ts";
import { builtLayout } from "../images/layout.ts";
import { pushLayout } from "../images/push.ts";
import { Registry } from "../images/registry.ts";
import { Crictl } from "./crictl.ts";

export const busybox = "registry.k8s.io/e2e-test-images/busybox:1.29-2";
export const nginx = "registry.k8s.io/e2e-test-images/nginx:1.14-2";

/** A server with every image of the registry within reach, and crictl for it. Disposing it ends all. */
export class CrictlNode implements AsyncDisposable {
  readonly server: Server;
  readonly crictl: Crictl;
  readonly #owned: AsyncDisposableStack;
  #pods = 0;

  private constructor(server: Server, owned: AsyncDisposableStack) {
    this.server = server;
    this.crictl = new Crictl(server);
    this.#owned = owned;
  }

  static async start(options: ServerOptions = {}): Promise<CrictlNode> {
    await using owned = new AsyncDisposableStack();
    const registry = owned.use(await Registry.start());
    await pushLayout(await builtLayout(), registry.address, [busybox, nginx]);
    const server = owned.use(await Server.start({ mirror: registry.address, ...options }));
    return new CrictlNode(server, owned.move());
  }

  /** Runs a pod of one container, and answers both ids. */
  async pod(container: object): Promise<{ readonly sandbox: string; readonly container: string }> {
    const sandboxFile = await this.sandboxFile();
    const sandbox = await this.crictl.run("runp", sandboxFile);
    const file = await this.crictl.file({ ...containerConfig("main"), ...container });
    const id = await this.crictl.run("create", "--with-pull", sandbox, file, sandboxFile);
    await this.crictl.run("start", id);
    return { sandbox, container: id };
  }

  /** The file of a sandbox of its own name. */
  async sandboxFile(): Promise<string> {
    this.#pods += 1;
    const name = `pod-${this.#pods}`;
    return await this.crictl.file({
      metadata: { name, namespace: "conformance", uid: `uid-${name}`, attempt: 0 },
      hostname: name,
      log_directory: await this.crictl.logDirectory(name),
      dns_config: { servers: ["10.10.10.10"], searches: ["example.org"] },
      linux: { cgroup_parent: cgroupParent("nacelle-conformance") },
    });
  }

  /** A crictl that goes on until it is disposed, its output in a file. */
  async background(file: string, ...args: string[]): Promise<Daemon> {
    return await Daemon.start(await this.crictl.command(...args), `${this.server.paths.folder}/${file}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

/** A container that waits until it is told to end. */
export function containerConfig(name: string): object {
  return {
    metadata: { name, attempt: 0 },
    image: { image: busybox },
    command: ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"],
    log_path: `${name}.log`,
    linux: {
      resources: { cpu_shares: 102, memory_limit_in_bytes: 67_108_864, oom_score_adj: 500 },
      security_context: { namespace_options: { pid: 1 } },
    },
  };
}

import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Answers } from "../harness/cri-answers.ts";
import { CriClient } from "../harness/cri-client.ts";
import { busybox } from "../harness/cri-configs.ts";
import { assertNoStateRows, assertNothingLeaked, type Snapshot, snapshot } from "../harness/leaks.ts";
import { Server, type ServerOptions } from "../harness/server.ts";
import { builtLayout } from "../images/layout.ts";
import { pushLayout } from "../images/push.ts";
import { Registry } from "../images/registry.ts";
import { Kubelet } from "./kubelet.ts";
import type { KubeletSettings } from "./kubelet-configuration.ts";
import { lookUntil } from "./look.ts";
import { fullName, logPath, type Pod, type PodManifest, podNamespace } from "./pod.ts";

const run = promisify(execFile);
const cgroups = "/sys/fs/cgroup";

/** A kubelet refuses a loopback address, and an isolated network has no other: a bridge gives it one. */
const bridge = { name: "node0", address: "10.200.0.1" };

/** What a node is started with; `images` are pushed to the registry that stands in for all others. */
export interface ClusterNodeOptions {
  readonly server?: ServerOptions;
  readonly kubelet?: KubeletSettings;
  readonly images?: readonly string[];
}

/** A folder of the host, and files in it by their names. */
interface SharedFolder {
  readonly path: string;
  readonly read: (file: string) => Promise<string>;
  readonly write: (file: string, content: string, mode?: number) => Promise<void>;
}

/** A nacelle server, the kubelet that it serves, and the registry that it pulls from. Disposing it ends all, pods too. */
export class ClusterNode implements AsyncDisposable {
  readonly server: Server;
  readonly kubelet: Kubelet;
  readonly cri: CriClient;
  readonly #owned: AsyncDisposableStack;
  readonly #clean: Snapshot;

  private constructor(
    parts: { readonly server: Server; readonly kubelet: Kubelet; readonly cri: CriClient },
    clean: Snapshot,
    owned: AsyncDisposableStack,
  ) {
    this.server = parts.server;
    this.kubelet = parts.kubelet;
    this.cri = parts.cri;
    this.#clean = clean;
    this.#owned = owned;
  }

  /** Resolves when both answer. Only inside `harness/isolate`, one at a time. */
  static async start(options: ClusterNodeOptions = {}): Promise<ClusterNode> {
    await using owned = new AsyncDisposableStack();
    const registry = owned.use(await Registry.start());
    await pushLayout(await builtLayout(), registry.address, options.images ?? [busybox]);
    const server = owned.use(await Server.start({ mirror: registry.address, ...options.server }));
    const cri = owned.use(CriClient.connect(server.paths.socket));
    await addBridge();
    owned.defer(async () => void (await run("ip", ["link", "delete", bridge.name])));
    const folder = join(server.paths.folder, "kubelet");
    const place = {
      folder,
      address: bridge.address,
      runtimeEndpoint: server.endpoint,
      manifests: join(folder, "manifests"),
      podLogs: join(folder, "logs"),
      resolvConf: join(folder, "resolv.conf"),
    };
    const kubelet = owned.use(await Kubelet.start(place, options.kubelet ?? {}));
    return new ClusterNode({ server, kubelet, cri }, await idle(server), owned.move());
  }

  /** Where pods reach the node, and the kubelet its own API. */
  get address(): string {
    return bridge.address;
  }

  /** Makes a pod, or replaces the one of this name. The kubelet sees a manifest whole or not at all. */
  async apply(manifest: PodManifest): Promise<void> {
    const { manifests, folder } = this.kubelet.place;
    const { name } = manifest.metadata;
    const unfinished = join(folder, `${name}.unfinished`);
    await writeFile(unfinished, JSON.stringify(manifest, null, 2));
    await rename(unfinished, join(manifests, `${name}.json`));
  }

  /** Takes the manifest away, after which the kubelet ends the pod. */
  async delete(name: string): Promise<void> {
    await rm(join(this.kubelet.place.manifests, `${name}.json`));
  }

  /** Waits until the kubelet tells of a pod what is looked for, and answers the pod as it is then. */
  async until(name: string, what: string, isTrue: (pod: Pod) => boolean): Promise<Pod> {
    let seen: Pod | undefined;
    const look = async () => {
      const pods = await this.kubelet.api.pods();
      seen = pods.find(({ metadata }) => metadata.name === fullName(name));
      return seen?.status.containerStatuses !== undefined && isTrue(seen) ? seen : undefined;
    };
    return await lookUntil(`pod ${name} ${what}`, look, undefined, () => seen?.status);
  }

  /** Waits until every container of the pod is ready. */
  async untilReady(name: string): Promise<Pod> {
    return await this.until(name, "is ready", ({ status: { containerStatuses = [] } }) => {
      return containerStatuses.length > 0 && containerStatuses.every(({ ready }) => ready);
    });
  }

  /** What a container has written, through the kubelet; `query` as its API has it (`tailLines=1`, `previous=true`). */
  async logs(pod: string, container: string, query = ""): Promise<string> {
    return await this.kubelet.api.get(logPath(pod, container, query));
  }

  /** Waits until a container has written this. */
  async untilLogged(pod: string, container: string, words: string): Promise<void> {
    let seen = "";
    const look = async () => {
      seen = await this.logs(pod, container);
      return seen.includes(words) ? true : undefined;
    };
    await lookUntil(`${pod} writes "${words}"`, look, undefined, () => seen);
  }

  /** Runs a command, whose words spaces divide, in a container, through the kubelet. Throws with its output when it fails. */
  async run(pod: string, container: string, command: string): Promise<string> {
    const query = new URLSearchParams({ cmd: command });
    return await this.kubelet.api.post(`/run/${podNamespace}/${fullName(pod)}/${container}?${query}`);
  }

  /** The containers of a pod that nacelle lists. */
  async containersOf({ metadata: { uid } }: Pod): Promise<Answers["ListContainers"]["containers"]> {
    const filter = { labelSelector: { "io.kubernetes.pod.uid": uid } };
    return (await this.cri.call("ListContainers", { filter })).containers;
  }

  /** A folder of the host that a pod may mount; it goes with the node. */
  async sharedFolder(name: string): Promise<SharedFolder> {
    const path = join(this.kubelet.place.folder, "shared", name);
    await mkdir(path, { recursive: true });
    return {
      path,
      read: async (file) => await readFile(join(path, file), "utf8"),
      write: async (file, content, mode = 0o644) => await writeFile(join(path, file), content, { mode }),
    };
  }

  /** Waits until every sandbox of the pod is stopped, which is after its containers and before they are removed. */
  async untilStopped(name: string): Promise<void> {
    const filter = { labelSelector: { "io.kubernetes.pod.name": fullName(name) } };
    await lookUntil(`pod ${name} is stopped`, async () => {
      const { items } = await this.cri.call("ListPodSandbox", { filter });
      return items.every(({ state }) => state === "SANDBOX_NOTREADY") ? true : undefined;
    });
  }

  /**
   * Takes all manifests away and asserts that nothing of a pod is left: not in nacelle, not on the machine, not in the
   * kubelet's own folders, not in the state database. It ends the server. A kubelet removes the sandboxes and logs of
   * deleted pods once a minute.
   */
  async assertCleanEnd(): Promise<void> {
    const { manifests, podLogs, folder } = this.kubelet.place;
    for (const name of await readdir(manifests)) await rm(join(manifests, name));
    let left: readonly unknown[] = [];
    const look = async () => {
      const { items } = await this.cri.call("ListPodSandbox", {});
      left = [...items, ...(await readdir(podLogs)), ...(await readdir(join(folder, "root/pods")))];
      return left.length === 0 ? true : undefined;
    };
    await lookUntil("pods and all that the kubelet keeps of them are gone", look, undefined, () => left);
    await assertNothingLeaked(this.#clean, this.server.paths);
    await this.server.stop();
    await assertNoStateRows(this.server.paths);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

/** The machine without a pod. A kubelet makes the parents of its classes of service in most hierarchies, a first pod in the others. */
async function idle(server: Server): Promise<Snapshot> {
  const now = await snapshot(server.paths);
  const hierarchies = await readdir(cgroups);
  const parents = hierarchies.flatMap((name) => {
    return ["besteffort", "burstable"].map((service) => join(cgroups, name, "kubepods", service));
  });
  return { ...now, cgroups: [...now.cgroups, ...parents] };
}

async function addBridge(): Promise<void> {
  await run("ip", ["link", "add", bridge.name, "type", "bridge"]);
  await run("ip", ["address", "add", `${bridge.address}/24`, "dev", bridge.name]);
  await run("ip", ["link", "set", bridge.name, "up"]);
}

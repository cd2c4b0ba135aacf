import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CallOptions, type Client, credentials, type ServiceDefinition, type ServiceError } from "@grpc/grpc-js";
import type { MethodDefinition } from "@grpc/proto-loader";
import type { Container } from "../container/container.ts";
import { EventFeed } from "../container/event-feed.ts";
import { invalidArgument, notFound } from "../lib/errors.ts";
import { growingClock } from "../lib/growing-clock.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import type { Asked } from "../streaming/asked.ts";
import { loadCri } from "./descriptor.ts";
import type { ImageServiceClient, ImageServiceDefinition } from "./generated/runtime/v1/ImageService.ts";
import type { RuntimeServiceClient, RuntimeServiceDefinition } from "./generated/runtime/v1/RuntimeService.ts";
import type { CallRecord } from "./handler.ts";
import { imageService } from "./image-service.ts";
import { listen } from "./listen.ts";
import type {
  CheckpointPort,
  ContainerPort,
  Image,
  ImagePort,
  ResourcePort,
  SandboxPort,
  StatsPort,
  StatusPort,
  StreamingPort,
} from "./ports.ts";
import { type RuntimePorts, runtimeService } from "./runtime-service.ts";

/** The domain as the server sees it, in memory and obedient. */
export class FakeNode {
  readonly sandboxes = new Map<string, Sandbox>();
  readonly containers = new Map<string, Container>();
  readonly images = new Map<string, Image>();
  readonly asked: Asked[] = [];
  podCidr = "";

  readonly sandboxPort: SandboxPort = {
    run: async (config, runtimeHandler) => {
      const id = this.#newId();
      const base = { id, config, runtimeHandler, createdAt: Temporal.Now.instant() };
      this.sandboxes.set(id, { ...base, state: { phase: "ready" }, ips: ["10.1.0.2", "fd00::2"] });
      return id;
    },
    stop: async (id) => {
      const sandbox = this.sandboxes.get(id);
      const state = { phase: "notReady", reason: "Stopped", released: true } as const;
      if (sandbox !== undefined) this.sandboxes.set(id, { ...sandbox, state });
    },
    remove: async (id) => void this.sandboxes.delete(id),
    get: (id) => one("sandbox", id, this.sandboxes),
    list: () => [...this.sandboxes.values()],
    describe: (id) => ({ id, inode: 4_026_531_840n }),
  };

  readonly containerPort: ContainerPort = {
    create: async (sandboxId, config) => {
      const sandbox = one("sandbox", sandboxId, this.sandboxes);
      const id = this.#newId();
      this.containers.set(id, {
        ...{ id, config, sandboxId: sandbox.id, createdAt: Temporal.Now.instant() },
        ...{ imageId: `sha256:${"1".repeat(64)}`, imageRef: `sha256:${"1".repeat(64)}` },
        logPath: config.logPath === "" ? "" : `${sandbox.config.logDirectory}/${config.logPath}`,
        user: { uid: 1000, gid: 1000, supplementalGroups: [1000, 1234] },
        stopSignal: config.stopSignal || "SIGTERM",
        state: { phase: "created", pid: 7, startTime: "1", collected: true },
      });
      return id;
    },
    start: async (id) => {
      const startedAt = Temporal.Now.instant();
      this.setState(id, { phase: "running", pid: 7, startTime: "1", startedAt });
    },
    stop: async () => {},
    remove: async (id) => void this.containers.delete(id),
    get: (id) => one("container", id, this.containers),
    list: () => [...this.containers.values()],
    describe: (id) => ({ id, pid: 7 }),
    execSync: async (id, command) => {
      one("container", id, this.containers);
      return { stdout: Buffer.from(command.join(" ")), stderr: Buffer.from([0, 255]), exitCode: 3 };
    },
    reopenLog: async (id) => void one("container", id, this.containers),
  };

  readonly resourcePort: ResourcePort = {
    updateContainer: async (id, applied) => {
      const container = one("container", id, this.containers);
      this.containers.set(container.id, { ...container, limits: { applied } });
    },
    updateSandbox: async (id, limits) => {
      const sandbox = one("sandbox", id, this.sandboxes);
      this.sandboxes.set(sandbox.id, { ...sandbox, limits });
    },
  };

  readonly checkpointPort: CheckpointPort = { checkpoint: async (id) => void one("container", id, this.containers) };

  readonly eventPort = new EventFeed({
    containers: { ofSandbox: (id) => [...this.containers.values()].filter(({ sandboxId }) => sandboxId === id) },
    now: growingClock(() => Temporal.Now.instant()),
  });

  readonly imagePort: ImagePort = {
    pull: async ({ image }) => {
      const id = `sha256:${"2".repeat(64)}`;
      const tags = { repoTags: [image], repoDigests: [`${image}@sha256:${"3".repeat(64)}`] };
      this.images.set(id, { id, ...tags, sizeBytes: 5_000_000_000, uid: 1000, username: "", pinned: false });
      return id;
    },
    find: (reference) => this.images.values().find(({ id, repoTags }) => [id, ...repoTags].includes(reference)),
    list: () => [...this.images.values()],
    remove: async (reference) => void this.images.delete(this.imagePort.find(reference)?.id ?? ""),
    fsInfo: () => {
      const usage = { timestamp: Temporal.Now.instant(), mountpoint: "/var/lib/nacelle", usedBytes: 9, inodesUsed: 2 };
      return { images: usage, containers: usage };
    },
  };

  readonly statsPort: StatsPort = {
    containers: async (containers) => containers.map((container) => ({ ...this.#stats(), container })),
    sandboxes: async (sandboxes) =>
      sandboxes.map((sandbox) => {
        const inside = this.containers.values().filter(({ sandboxId }) => sandboxId === sandbox.id);
        const containers = [...inside].map((container) => ({ ...this.#stats(), container }));
        const eth = { rxBytes: 1, rxPackets: 2, rxErrors: 3, rxDropped: 4 };
        const sent = { txBytes: 5, txPackets: 6, txErrors: 7, txDropped: 8 };
        const interfaces = ["tunl0", "eth0"].map((name) => ({ name, ...eth, ...sent }));
        return { ...this.#stats(), sandbox, network: { timeNs: 2n, interfaces }, containers };
      }),
    metrics: async () => {
      const value = { name: "container_threads", type: "gauge", timeNs: 3n, labelValues: ["c"], value: 4 } as const;
      return [...this.sandboxes.keys()].map((sandboxId) => ({ sandboxId, metrics: [value], containers: [] }));
    },
    descriptors: () => [{ name: "container_threads", help: "Threads.", labelKeys: ["container"] }],
  };

  readonly streamingPort: StreamingPort = {
    url: (asked) => {
      this.asked.push(asked);
      return `http://127.0.0.1:1/${asked.kind}/token`;
    },
  };

  readonly statusPort: StatusPort = {
    version: "0.1.0",
    cgroupDriver: "cgroupfs",
    runtime: () => ({ ready: true, reason: "", message: "" }),
    network: () => ({ ready: false, reason: "NoNetworkConfig", message: "no conflist in /etc/cni/net.d" }),
    handlers: () => ["", "runc"].map((name) => ({ name, recursiveReadOnlyMounts: true, userNamespaces: false })),
    supplementalGroupsPolicy: () => true,
    info: () => ({ config: JSON.stringify({ sandboxImage: "", stateDir: "/var/lib/nacelle" }) }),
    setPodCidr: (cidr) => {
      this.podCidr = cidr;
    },
  };

  get runtimePorts(): RuntimePorts {
    return {
      sandboxes: this.sandboxPort,
      containers: this.containerPort,
      resources: this.resourcePort,
      checkpoints: this.checkpointPort,
      events: this.eventPort,
      stats: this.statsPort,
      streaming: this.streamingPort,
      status: this.statusPort,
    };
  }

  #ids = 0;

  /** With a limit, without swap. */
  #stats() {
    const figures = { cpuUsageNs: 5_000_000_000, memoryUsage: 1_000, inactiveFile: 300, memoryLimit: 2_000, tasks: 3 };
    const line = { total: 7, avg10: 0.5, avg60: 0.25, avg300: 0.125 };
    const usage = {
      timeNs: 1_795_262_400_000_000_001n,
      figures: { ...figures, cpuPressure: { some: line, full: line } },
    };
    const timestamp = Temporal.Instant.fromEpochMilliseconds(5);
    const writableLayer = { timestamp, mountpoint: "/var/lib/nacelle", usedBytes: 9, inodesUsed: 2 };
    return { usage: { ...usage, nanoCores: 250_000_000 }, writableLayer };
  }

  setState(id: string, state: Container["state"]): void {
    const container = one("container", id, this.containers);
    this.containers.set(container.id, { ...container, state });
  }

  /** Ids that begin differently, so that their first digits are unique prefixes. */
  #newId(): string {
    this.#ids += 1;
    return this.#ids.toString(16).padStart(4, "0").padEnd(64, "e");
  }
}

function one<T>(kind: string, prefix: string, items: ReadonlyMap<string, T>): T {
  const [id, ...others] = [...items.keys()].filter((key) => key.startsWith(prefix));
  if (others.length > 0) throw invalidArgument(`${kind} id ${prefix} is ambiguous`);
  const found = items.get(id ?? "");
  if (found === undefined) throw notFound(kind, prefix);
  return found;
}

export interface Connection extends AsyncDisposable {
  readonly runtime: RuntimeServiceClient;
  readonly image: ImageServiceClient;
  readonly ask: Asking<RuntimeServiceDefinition> & Asking<ImageServiceDefinition>;
  readonly calls: readonly CallRecord[];
  readonly socket: string;
  /** Ends the server alone, as SIGTERM does. */
  stopServer(): Promise<void>;
}

/** A real server on a real socket with clients; disposing it ends them all. */
export async function connect(node = new FakeNode(), graceMs = 1_000): Promise<Connection> {
  await using owned = new AsyncDisposableStack();
  const dir = owned.use(await mkdtempDisposable(join(tmpdir(), "cri-")));
  const socket = join(dir.path, "cri.sock");
  const { RuntimeService, ImageService } = loadCri();
  const calls: CallRecord[] = [];
  const observe = (call: CallRecord) => void calls.push(call);
  const ports = node.runtimePorts;
  const services = [
    runtimeService(RuntimeService.service, ports, observe),
    imageService(ImageService.service, node.imagePort, observe),
  ];
  const server = owned.use(await listen({ socket, services, graceMs }));
  const options = { "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 };
  const [runtime, image] = [RuntimeService, ImageService].map((Client) =>
    owned.adopt(new Client(`unix://${socket}`, credentials.createInsecure(), options), (client) => client.close()),
  ) as [RuntimeServiceClient, ImageServiceClient];
  const ask = { ...asking(runtime, RuntimeService.service), ...asking(image, ImageService.service) };
  const kept = owned.move();
  return {
    ...{ runtime, image, ask, calls, socket },
    stopServer: () => Promise.resolve(server[Symbol.asyncDispose]()),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Every call with one answer as a function that promises it. */
type Asking<Definition> = {
  readonly [Name in keyof Definition as string extends Name
    ? never
    : number extends Name
      ? never
      : Name]: Definition[Name] extends MethodDefinition<infer Request, infer _, infer __, infer Answer>
    ? (request: Request, options?: CallOptions) => Promise<Answer>
    : never;
};

type Method = (request: unknown, options: CallOptions, done: (error: unknown, answer: unknown) => void) => unknown;

function asking<Definition extends ServiceDefinition>(client: Client, definition: Definition): Asking<Definition> {
  const methods = Object.keys(definition).map((name) => {
    const method = (client as unknown as Record<string, Method>)[name];
    const ask = (request: unknown, options: CallOptions = {}) => {
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      method?.call(client, request, options, (error, answer) => (error === null ? resolve(answer) : reject(error)));
      return promise;
    };
    return [name, ask];
  });
  return Object.fromEntries(methods);
}

/** The error that a call ends with. */
export async function failure(call: Promise<unknown>, what = "the call"): Promise<ServiceError> {
  try {
    await call;
  } catch (error) {
    return error as ServiceError;
  }
  throw new Error(`${what} succeeded`);
}

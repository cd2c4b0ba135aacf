import type { FigureFiles, FigureLevel } from "../cgroup/figure-files.ts";
import { parseNetDev } from "../cgroup/net-dev.ts";
import { type Container, isAlive, isListed } from "../container/container.ts";
import type { FilesystemUsage } from "../image/filesystem-usage.ts";
import type { StatsReading } from "../launcher/stats-protocol.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { describeMetrics, type MetricDescriptor, metricsOf, type SandboxMetrics } from "./metrics.ts";
import type { ContainerStats, NetworkStats, SandboxStats, Usage } from "./stats.ts";
import { idOfSubject, type StatsFiles, type Subject } from "./stats-files.ts";
import { sumOf } from "./sum.ts";
import { UsageRates } from "./usage-rate.ts";

export interface StatsServicePorts {
  readonly files: Pick<StatsFiles, "read">;
  readonly figures: FigureFiles;
  /** The path of a container's cgroup below each hierarchy's mount. */
  readonly cgroupOf: (sandbox: Sandbox, containerId: string) => string;
  /** The path of the cgroup parent, likewise. */
  readonly parentOf: (sandbox: Sandbox) => string;
  /** The pinned network namespace; "" on the host's. */
  readonly netnsOf: (sandbox: Sandbox) => string;
  readonly sandboxes: { list(): readonly Sandbox[] };
  readonly containers: { list(): readonly Container[] };
  readonly writableLayer: (containerId: string) => FilesystemUsage | undefined;
  /** The kernel keeps pressure stall information of cgroups. */
  readonly hasPressure: boolean;
}

/** Everything of one look at the files, by subject. */
interface Batch {
  readonly usages: ReadonlyMap<string, Usage>;
  readonly networks: ReadonlyMap<string, NetworkStats>;
}

/**
 * What containers and sandboxes use. Each answer is read when it is asked for: nothing is kept, but who asks for the same
 * while it is being read shares it.
 */
export class StatsService {
  readonly #ports: StatsServicePorts;
  readonly #rates = new UsageRates();
  readonly #flights = new Map<string, Promise<Batch>>();

  constructor(ports: StatsServicePorts) {
    this.#ports = ports;
  }

  /** In the order given. One that does not run has no usage; neither has one that ends meanwhile. */
  async containers(containers: readonly Container[]): Promise<readonly ContainerStats[]> {
    const batch = await this.#batch(1, this.#containerSubjects(containers));
    return containers.map((container) => this.#statsOf(container, batch));
  }

  /** In the order given, each with its containers that run. One that is not ready has neither usage nor containers. */
  async sandboxes(sandboxes: readonly Sandbox[], level: FigureLevel = 1): Promise<readonly SandboxStats[]> {
    const running = this.#running(sandboxes.filter(isReady));
    const own = this.#withOwnParent(sandboxes.filter(isReady));
    const subjects = [
      ...this.#containerSubjects([...running.values()].flat()),
      ...own.map((sandbox) => this.#parentSubject(sandbox)),
      ...sandboxes.filter(isReady).flatMap((sandbox) => this.#networkSubject(sandbox)),
    ];
    const batch = await this.#batch(level, subjects);
    const owners = new Set(own.map(({ id }) => id));
    return sandboxes.map((sandbox) => {
      const containers = (running.get(sandbox.id) ?? []).map((container) => this.#statsOf(container, batch));
      const together = () => sumOf(containers.flatMap(({ usage }) => usage ?? []));
      const usage = owners.has(sandbox.id) ? batch.usages.get(parentKey(sandbox)) : together();
      return { sandbox, usage, network: batch.networks.get(networkKey(sandbox)), containers };
    });
  }

  /** Of all sandboxes that are ready. */
  async metrics(): Promise<readonly SandboxMetrics[]> {
    const { sandboxes, hasPressure } = this.#ports;
    const all = await this.sandboxes(sandboxes.list().filter(isReady), 2);
    return all.map((stats) => metricsOf(stats, this.#ports, hasPressure));
  }

  descriptors(): readonly MetricDescriptor[] {
    return describeMetrics(this.#ports.hasPressure);
  }

  #statsOf(container: Container, { usages }: Batch): ContainerStats {
    return { container, usage: usages.get(container.id), writableLayer: this.#ports.writableLayer(container.id) };
  }

  #running(sandboxes: readonly Sandbox[]): ReadonlyMap<string, readonly Container[]> {
    const wanted = new Set(sandboxes.map(({ id }) => id));
    const running = this.#ports.containers
      .list()
      .filter((container) => wanted.has(container.sandboxId) && isListed(container) && isAlive(container));
    return Map.groupBy(running, ({ sandboxId }) => sandboxId);
  }

  /** Those that no other sandbox shares a cgroup parent with: a kubelet gives each pod its own. */
  #withOwnParent(sandboxes: readonly Sandbox[]): readonly Sandbox[] {
    const { sandboxes: all, parentOf } = this.#ports;
    const users = new Map<string, number>();
    for (const sandbox of all.list().filter(isReady)) {
      const parent = parentOf(sandbox);
      users.set(parent, (users.get(parent) ?? 0) + 1);
    }
    return sandboxes.filter((sandbox) => sandbox.config.cgroupParent !== "" && users.get(parentOf(sandbox)) === 1);
  }

  #containerSubjects(containers: readonly Container[]): readonly Subject[] {
    const { sandboxes, figures, cgroupOf } = this.#ports;
    const byId = new Map(sandboxes.list().map((sandbox) => [sandbox.id, sandbox]));
    return containers.filter(isAlive).flatMap(({ id, sandboxId }) => {
      const sandbox = byId.get(sandboxId);
      if (sandbox === undefined) return [];
      return [{ id, files: () => ({ netns: "", ...figures.of(cgroupOf(sandbox, id)) }) }];
    });
  }

  #parentSubject(sandbox: Sandbox): Subject {
    const { figures, parentOf } = this.#ports;
    return { id: parentKey(sandbox), files: () => ({ netns: "", ...figures.of(parentOf(sandbox)) }) };
  }

  #networkSubject(sandbox: Sandbox): readonly Subject[] {
    const netns = this.#ports.netnsOf(sandbox);
    if (netns === "") return [];
    return [{ id: networkKey(sandbox), files: () => ({ netns, directories: [], files: [] }) }];
  }

  #batch(level: FigureLevel, subjects: readonly Subject[]): Promise<Batch> {
    const key = `${level} ${subjects.map(({ id }) => id).join()}`;
    return this.#flights.getOrInsertComputed(key, () =>
      this.#read(level, subjects).finally(() => this.#flights.delete(key)),
    );
  }

  async #read(level: FigureLevel, subjects: readonly Subject[]): Promise<Batch> {
    const usages = new Map<string, Usage>();
    const networks = new Map<string, NetworkStats>();
    await this.#ports.files.read(level, subjects, (reading, index) => {
      const id = subjects[index]?.id ?? "";
      if (!id.startsWith(NETWORK)) this.#addUsage(usages, id, level, reading);
      else addNetwork(networks, id, reading);
    });
    this.#forgetRates();
    return { usages, networks };
  }

  #addUsage(into: Map<string, Usage>, id: string, level: FigureLevel, { timeNs, texts }: StatsReading): void {
    const figures = this.#ports.figures.parse(level, texts);
    if (figures === undefined) return;
    const { cpuUsageNs } = figures;
    const nanoCores = cpuUsageNs === undefined ? undefined : this.#rates.observe(id, timeNs, cpuUsageNs);
    into.set(id, { timeNs, figures, nanoCores });
  }

  #forgetRates(): void {
    const { containers, sandboxes } = this.#ports;
    const alive = containers.list().length + sandboxes.list().length;
    if (this.#rates.size <= alive) return;
    const ids = new Set([...containers.list(), ...sandboxes.list()].map(({ id }) => id));
    this.#rates.keep((key) => ids.has(idOfSubject(key)));
  }
}

const NETWORK = "network ";

function addNetwork(into: Map<string, NetworkStats>, id: string, { timeNs, texts: [text] }: StatsReading): void {
  if (text !== undefined) into.set(id, { timeNs, interfaces: parseNetDev(text).filter(({ name }) => name !== "lo") });
}

function networkKey({ id }: Sandbox): string {
  return NETWORK + id;
}

function parentKey({ id }: Sandbox): string {
  return `parent ${id}`;
}

function isReady({ state }: Sandbox): boolean {
  return state.phase === "ready";
}

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseCgroups } from "../cgroup/cgroup.ts";
import { FigureFiles } from "../cgroup/figure-files.ts";
import { recordedV2 } from "../cgroup/figures.fixture.ts";
import { aContainer, epoch } from "../container/container.fixture.ts";
import type { Container } from "../container/container.ts";
import type { TakeReading } from "../launcher/stats-protocol.ts";
import { aSandbox } from "../sandbox/sandbox.fixture.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import type { Subject } from "./stats-files.ts";
import { StatsService } from "./stats-service.ts";

const running = { phase: "running", pid: 7, startTime: "1", startedAt: epoch } as const;
const exited = {
  phase: "exited",
  startedAt: epoch,
  finishedAt: epoch,
  exitCode: 0,
  reason: "Completed",
  message: "",
} as const;
const zeros = "0 0 0 0 0 0 0";

class FakeHost {
  readonly sandboxes: Sandbox[] = [];
  readonly containers: Container[] = [];
  readonly gone = new Set<string>();
  readonly reads: string[][] = [];
  readonly figures = new FigureFiles(parseCgroups("1 1 0:1 / /cg rw - cgroup2 cgroup2 rw\n"));
  timeNs = 1_000_000_000n;
  readonly service = new StatsService({
    figures: this.figures,
    files: { read: (level, subjects, take) => this.#read(level, subjects, take) },
    cgroupOf: (sandbox, id) => `${sandbox.config.cgroupParent}/${id}`,
    parentOf: ({ config }) => config.cgroupParent,
    netnsOf: ({ id, config }) => (config.namespaces.network === "pod" ? `/ns/${id}` : ""),
    sandboxes: { list: () => this.sandboxes },
    containers: { list: () => this.containers },
    writableLayer: (id) => ({ timestamp: epoch, mountpoint: "/r", usedBytes: id.length, inodesUsed: 1 }),
    hasPressure: true,
  });

  addSandbox(id: string, asked: Parameters<typeof aSandbox>[0]): Sandbox {
    this.sandboxes.push({ ...aSandbox(asked), id });
    return this.sandboxes.at(-1) ?? aSandbox();
  }

  addContainer(id: string, sandboxId: string, state: Container["state"] = running): Container {
    this.containers.push({ ...aContainer(state), id, sandboxId });
    return this.containers.at(-1) ?? aContainer(state);
  }

  async #read(level: number, subjects: readonly Subject[], take: TakeReading): Promise<void> {
    this.reads.push(subjects.map(({ id }) => id));
    await Promise.resolve();
    for (const [index, { id, files }] of subjects.entries()) {
      const set = files();
      const texts = set.files.filter((file) => file.level <= level).map(({ name }) => recordedV2[name]);
      const network = set.netns === "" ? [] : [`h\nh\nlo: ${zeros} 0 ${zeros} 0\neth0: 5 ${zeros} 6 ${zeros}\n`];
      const all = [...texts, ...network];
      take({ timeNs: this.timeNs, texts: this.gone.has(id) ? all.map(() => undefined) : all }, index);
    }
  }
}

describe("statistics", () => {
  it("of containers are those that were asked for; only what runs has figures", async () => {
    const host = new FakeHost();
    host.addSandbox("s1", { cgroupParent: "/kubepods/pod1" });
    const [live, dead] = [host.addContainer("c1", "s1"), host.addContainer("c2", "s1", exited)];
    const vanished = host.addContainer("c3", "s1");
    host.gone.add("c3");
    const stats = await host.service.containers([dead, live, vanished]);
    assert.deepEqual(
      stats.map(({ container, usage }) => [container.id, usage?.figures.memoryUsage]),
      [
        ["c2", undefined],
        ["c1", 729_088],
        ["c3", undefined],
      ],
    );
    assert.equal(stats[0]?.writableLayer?.usedBytes, 2);
    assert.deepEqual(host.reads, [["c1", "c3"]]);
  });

  it("of a sandbox are those of its own cgroup parent", async () => {
    const host = new FakeHost();
    const sandbox = host.addSandbox("s1", { cgroupParent: "/kubepods/pod1" });
    host.addContainer("c1", "s1");
    host.addContainer("c2", "s1", exited);
    const [stats] = await host.service.sandboxes([sandbox]);
    assert.equal(stats?.usage?.figures.memoryUsage, 729_088);
    assert.deepEqual(
      stats?.network?.interfaces.map(({ name, rxBytes, txBytes }) => [name, rxBytes, txBytes]),
      [["eth0", 5, 6]],
    );
    assert.deepEqual(
      stats?.containers.map(({ container }) => container.id),
      ["c1"],
    );
    assert.deepEqual(host.reads, [["c1", "parent s1", "network s1"]]);
  });

  it("of a sandbox that shares its parent are those of its containers together, without limits and pressure", async () => {
    const host = new FakeHost();
    const [first] = ["s1", "s2"].map((id) => host.addSandbox(id, { cgroupParent: "/all" }));
    for (const id of ["c1", "c2"]) host.addContainer(id, "s1");
    const [stats] = await host.service.sandboxes(first === undefined ? [] : [first]);
    const { memoryUsage, memoryLimit, cpuPressure, tasks } = stats?.usage?.figures ?? {};
    assert.deepEqual([memoryUsage, memoryLimit, cpuPressure, tasks], [2 * 729_088, undefined, undefined, 4]);
  });

  it("of a sandbox that is not ready, or on the host's network, leave out what it has not", async () => {
    const host = new FakeHost();
    const hostNetwork = { network: "node", pid: "container", ipc: "pod", targetId: "" } as const;
    const onHost = host.addSandbox("s1", { cgroupParent: "/p", namespaces: hostNetwork });
    const stopped = {
      ...aSandbox(),
      id: "s2",
      state: { phase: "notReady", reason: "Stopped", released: true } as const,
    };
    host.addContainer("c1", "s2");
    const stats = await host.service.sandboxes([onHost, stopped]);
    assert.deepEqual(
      stats.map(({ usage, network }) => [usage === undefined, network]),
      [
        [false, undefined],
        [true, undefined],
      ],
    );
    assert.deepEqual(host.reads, [["parent s1"]]);
  });

  it("are read once for all who ask for the same meanwhile, and anew for who asks later", async () => {
    const host = new FakeHost();
    host.addSandbox("s1", { cgroupParent: "/p" });
    const [one, other] = [host.addContainer("c1", "s1"), host.addContainer("c2", "s1")];
    const asked = [
      host.service.containers([one, other]),
      host.service.containers([one, other]),
      host.service.containers([one]),
    ];
    await Promise.all(asked);
    await host.service.containers([one, other]);
    assert.deepEqual(host.reads, [["c1", "c2"], ["c1"], ["c1", "c2"]]);
  });

  it("tell the rate of CPU use from the second look on", async () => {
    const host = new FakeHost();
    host.addSandbox("s1", { cgroupParent: "/p" });
    const container = host.addContainer("c1", "s1");
    const rate = async () => (await host.service.containers([container]))[0]?.usage?.nanoCores;
    assert.equal(await rate(), undefined);
    host.timeNs += 1_000_000_000n;
    assert.equal(await rate(), 0);
  });
});

describe("metrics", () => {
  it("are described before they are told, each with as many labels", async () => {
    const host = new FakeHost();
    host.addSandbox("s1", { cgroupParent: "/kubepods/pod1" });
    host.addContainer("c1", "s1");
    const [told] = await host.service.metrics();
    const described = new Map(host.service.descriptors().map((one) => [one.name, one]));
    const all = [...(told?.metrics ?? []), ...(told?.containers.flatMap(({ metrics }) => metrics) ?? [])];
    for (const { name, labelValues, value } of all) {
      assert.equal(labelValues.length, described.get(name)?.labelKeys.length, name);
      assert.ok(Number.isInteger(value) && value >= 0, `${name} ${value}`);
    }
    const names = new Set(all.map(({ name }) => name));
    assert.deepEqual(
      [...described.keys()].filter((name) => !names.has(name)),
      [],
    );
    for (const { help, labelKeys } of described.values()) assert.ok(help.length > 5 && labelKeys.length >= 6);
  });

  it("name their pod and container as cAdvisor does", async () => {
    const host = new FakeHost();
    host.addSandbox("s1", { cgroupParent: "/kubepods/pod1" });
    host.addContainer("c1", "s1");
    const [told] = await host.service.metrics();
    const find = (metrics: NonNullable<typeof told>["metrics"], name: string) =>
      metrics.find((one) => one.name === name);
    const working = find(told?.containers[0]?.metrics ?? [], "container_memory_working_set_bytes");
    assert.deepEqual(working?.labelValues, ["app", "/kubepods/pod1/c1", "busybox", "c1", "default", "web"]);
    assert.equal(working?.value, 729_088 - 24_576);
    const received = find(told?.metrics ?? [], "container_network_receive_bytes_total");
    assert.deepEqual(received?.labelValues, ["", "/kubepods/pod1", "", "", "default", "web", "eth0"]);
    assert.equal(received?.value, 5);
  });
});

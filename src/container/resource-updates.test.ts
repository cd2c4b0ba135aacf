import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Operation, Operations, RunResult } from "../launcher/operations.ts";
import type { Resources } from "../oci/config.ts";
import { UNKNOWN_FEATURES } from "../oci/handler.ts";
import { sampleHost } from "../oci/spec/sample-input.ts";
import { Handlers } from "../sandbox/handlers.ts";
import { aSandbox } from "../sandbox/sandbox.fixture.ts";
import { SandboxStore } from "../sandbox/sandbox-store.ts";
import { open, scratch } from "../state/store.fixture.ts";
import { aContainer, aContainerConfig, epoch } from "./container.fixture.ts";
import { type Container, resourcesOf } from "./container.ts";
import { ContainerStore } from "./container-store.ts";
import { ResourceUpdates } from "./resource-updates.ts";

const NONE: Resources = {
  ...{ cpuPeriod: 0, cpuQuota: 0, cpuShares: 0, memoryLimitBytes: 0, memorySwapLimitBytes: 0, oomScoreAdj: 0 },
  ...{ cpusetCpus: "", cpusetMems: "", hugepageLimits: [], unified: {} },
};
const OLD: Resources = { ...NONE, cpuShares: 100, memoryLimitBytes: 4096, oomScoreAdj: 5 };
const running = aContainer({ phase: "running", pid: 4, startTime: "9", startedAt: epoch });
const patient = new AbortController().signal;

describe("an update of a container", () => {
  it("is durable as an intent when the runtime is told, and as applied when it has done it", async () => {
    await using node = new Node();
    await node.updates.updateContainer(node.id, { ...NONE, cpuShares: 200 }, patient);
    const merged = { ...OLD, cpuShares: 200 };
    assert.deepEqual(node.seen, [{ applied: OLD, intended: merged }]);
    assert.deepEqual(node.container.limits, { applied: merged });
    assert.deepEqual(node.told, [{ cpu: { shares: 200 }, memory: { limit: 4096, swap: 4096 } }]);
  });

  it("waits for the one before it, and changes what that one has left", async () => {
    await using node = new Node();
    await Promise.all(
      [{ cpuShares: 200 }, { memoryLimitBytes: 8192 }].map((asked) =>
        node.updates.updateContainer(node.id, { ...NONE, ...asked }, patient),
      ),
    );
    assert.deepEqual(node.seen[1]?.applied, { ...OLD, cpuShares: 200 });
    assert.deepEqual(resourcesOf(node.container), { ...OLD, cpuShares: 200, memoryLimitBytes: 8192 });
  });

  it("that fails is taken back, score and all, and told in the runtime's words", async () => {
    await using node = new Node();
    node.failures = 1;
    const asked = { ...NONE, cpuQuota: 5000, oomScoreAdj: 9 };
    await assert.rejects(node.updates.updateContainer(node.id, asked, patient), /crun update failed: no such luck/);
    assert.deepEqual(node.told.at(-1)?.["cpu"], { shares: 100, quota: -1 });
    assert.deepEqual(node.written, [{ op: "setOomScoreAdj", path: "/cg", value: 5 }]);
    assert.deepEqual(node.container.limits, { applied: OLD });
  });

  it("that cannot even be taken back is, by whoever comes later", async () => {
    await using node = new Node();
    node.failures = 2;
    await assert.rejects(node.updates.updateContainer(node.id, { ...NONE, cpuShares: 200 }, patient));
    assert.deepEqual(node.container.limits, { applied: OLD, intended: OLD });
    await node.updates.resume();
    assert.deepEqual(node.container.limits, { applied: OLD });
    assert.deepEqual(node.written.at(-1), { op: "setOomScoreAdj", path: "/cg", value: 5 });
  });

  it("that a daemon before had promised is applied once, and only to what lives", async () => {
    const limits = { applied: OLD, intended: { ...OLD, cpuShares: 300 } };
    await using node = new Node({ ...running, limits });
    await node.updates.resume();
    await node.updates.resume();
    assert.equal(node.told.length, 1);
    assert.deepEqual(node.container.limits, { applied: limits.intended });
    const over = { finishedAt: epoch, startedAt: epoch, exitCode: 0, reason: "Completed", message: "" } as const;
    await using other = new Node({ ...running, limits, state: { phase: "exited", ...over } });
    await other.updates.resume();
    assert.deepEqual(other.told, []);
  });

  it("is checked before anything is stored", async () => {
    await using node = new Node();
    const asked = { ...NONE, cpuPeriod: 1 };
    await assert.rejects(node.updates.updateContainer(node.id, asked, patient), { kind: "invalidArgument" });
    assert.equal(node.container.limits, undefined);
  });
});

/** A store with one container, and a runtime that notes what it is told. */
class Node implements AsyncDisposable {
  readonly id = running.id;
  readonly told: Record<string, unknown>[] = [];
  readonly written: Operation[] = [];
  /** The limits as they were stored whenever the runtime was called. */
  readonly seen: NonNullable<Container["limits"]>[] = [];
  /** How many calls of the runtime fail from now on. */
  failures = 0;
  readonly updates: ResourceUpdates;
  readonly #owned = new AsyncDisposableStack();
  readonly #containers: ContainerStore;

  constructor(container: Container = running) {
    const store = this.#owned.use(open(this.#owned.use(scratch()).path));
    this.#containers = new ContainerStore(store);
    const one = { ...container, config: aContainerConfig({ resources: OLD }) };
    store.commit([store.bootRecorded(), ...this.#containers.inserted(one)]);
    const operations: Operations = {
      run: async ({ stdin }) => this.#runtime(stdin ?? Buffer.alloc(0)),
      perform: async (writes) => {
        this.written.push(...writes);
        return [];
      },
    };
    const sandbox = aSandbox();
    this.updates = new ResourceUpdates({
      ...{ store, operations, containers: this.#containers, sandboxes: new SandboxStore(store), handlers },
      ...{ host: sampleHost, notice: () => {}, log: () => {}, find: () => this.container, findSandbox: () => sandbox },
      cgroupFiles: {
        writesBandwidth: () => false,
        before: () => [],
        tellCommand: () => [],
        after: () => [],
        directory: () => "/cg",
      },
    });
  }

  get container(): Container {
    const container = this.#containers.get(this.id);
    assert.ok(container);
    return container;
  }

  #runtime(stdin: Buffer): RunResult {
    this.told.push(JSON.parse(stdin.toString()));
    if (this.container.limits !== undefined) this.seen.push(this.container.limits);
    const status = this.failures > 0 ? 1 : 0;
    this.failures -= status;
    const stderr = Buffer.from("no such luck");
    return { outcome: "exited", status, stdout: Buffer.alloc(0), stderr, truncated: false };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

const handlers = new Handlers(
  [
    {
      handler: {
        ...{ name: "crun", path: "/usr/bin/crun", root: "/run/crun", args: [], pauseContainer: "auto" },
        ...{ allowedAnnotations: [], exit: "pid", signal: "pidfd", stats: "cgroup", systemdCgroup: false },
      },
      features: UNKNOWN_FEATURES,
      ...{ problem: "", usersProblem: "", execCgroups: false },
    },
  ],
  "crun",
);

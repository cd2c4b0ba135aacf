import assert from "node:assert/strict";
import { mkdtempDisposable, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { busybox, containerConfig, sandboxConfig } from "../harness/cri-configs.ts";
import { builtLayout } from "../images/layout.ts";
import { pushLayout } from "../images/push.ts";
import { Registry } from "../images/registry.ts";
import { inForce, skipWithoutV1 } from "../resources/limits.ts";
import { FaultyServer } from "./faulty-server.ts";
import type { Orders } from "./kill-at-step.ts";
import { ServerError } from "./server-error.ts";

const MiB = 1 << 20;
const OLD = { cpuShares: "100", cpuQuota: "50000", memoryLimitInBytes: String(64 * MiB), oomScoreAdj: "500" };
const NEW = { cpuShares: "900", cpuQuota: "90000", memoryLimitInBytes: String(96 * MiB), oomScoreAdj: "600" };
const WAIT_MS = 20_000;

interface Described {
  readonly status: { readonly resources: { readonly linux: Readonly<Record<string, string>> } };
  readonly info: { readonly info: string };
}

/** The same fields of all three. */
type Told = typeof OLD;

describe("an update with a process killed at every step of it", { skip: skipWithoutV1 }, () => {
  const owned = new AsyncDisposableStack();
  let faulty: FaultyServer;

  before(async () => {
    const folder = owned.use(await mkdtempDisposable(join(tmpdir(), "u-")));
    const registry = owned.use(await Registry.start());
    await pushLayout(await builtLayout(), registry.address, [busybox]);
    faulty = owned.use(await FaultyServer.start(join(folder.path, "faults"), { mirror: registry.address }));
    await faulty.call("PullImage", { image: { image: busybox } });
  });
  after(() => owned.disposeAsync());

  for (const [handler, isCreated] of [
    ["crun", false],
    ["runc", false],
    ["crun", true],
  ] as const) {
    const what = `${handler}, ${isCreated ? "created" : "running"}`;

    it(`${what}: what is told is in force, old or new, and new once the request was repeated`, async (t) => {
      const id = await container(handler, isCreated);
      const steps = await countSteps(id);
      t.diagnostic(`${steps} steps`);
      assert.ok(steps >= 8, `${steps} steps`);
      for (const victim of ["daemon", "launcher"] as const) {
        for (let at = 1; at <= steps; at++) await killedAt(id, { victim, at });
      }
      await faulty.call("StopPodSandbox", { podSandboxId: await sandboxOf(id) });
      await faulty.call("RemovePodSandbox", { podSandboxId: await sandboxOf(id) });
    });
  }

  async function killedAt(id: string, orders: Omit<Orders, "runDir">): Promise<void> {
    const where = `${orders.victim} killed at step ${orders.at}`;
    await update(id, OLD);
    await faulty.arm(orders);
    const failed = await update(id, NEW).then(
      () => undefined,
      (error: unknown) => error,
    );
    await faulty.revive();
    await faulty.arm({ victim: "nobody", at: -1 });
    const told = await settled(id, where);
    assert.deepEqual(await kernels(id), told, where);
    if (failed === undefined) assert.deepEqual(told, NEW, where);
    else assert.ok(failed instanceof ServerError && failed.code !== "INVALID_ARGUMENT", `${where}: ${failed}`);
    await repeated(id, NEW);
    assert.deepEqual(await kernels(id), NEW, `${where}, repeated`);
    assert.deepEqual(await settled(id, where), NEW, `${where}, repeated`);
  }

  const update = (containerId: string, linux: Told) => faulty.call("UpdateContainerResources", { containerId, linux });

  /** As a kubelet does: a killed launcher may be away for the moment. */
  async function repeated(id: string, linux: Told): Promise<void> {
    for (let tries = 0; ; tries++) {
      try {
        await update(id, linux);
        return;
      } catch (error) {
        if (tries === 20) throw error;
        await faulty.revive();
      }
    }
  }

  /** What ContainerStatus tells once no update is under way; the server has no event for that. */
  async function settled(containerId: string, where: string): Promise<Told> {
    const deadline = performance.now() + WAIT_MS;
    for (;;) {
      const { status, info } = await faulty.call<Described>("ContainerStatus", { containerId, verbose: true });
      const { linux } = status.resources;
      const told = Object.fromEntries(Object.keys(OLD).map((name) => [name, linux[name]])) as unknown as Told;
      if (JSON.parse(info.info).limits?.intended === undefined) return told;
      assert.ok(performance.now() < deadline, `${where}: the update is still under way`);
    }
  }

  /** The same from the kernel. */
  async function kernels(id: string): Promise<Told> {
    const { shares, quota, memory } = await inForce(id);
    const [pid] = (await readFile(`/sys/fs/cgroup/memory/nacelle-conformance/${id}/cgroup.procs`, "utf8")).split("\n");
    const oomScoreAdj = (await readFile(`/proc/${pid}/oom_score_adj`, "utf8")).trim();
    return {
      cpuShares: String(shares),
      cpuQuota: String(quota),
      memoryLimitInBytes: String(memory),
      oomScoreAdj,
    };
  }

  async function countSteps(id: string): Promise<number> {
    const lines = async () => (await readFile(faulty.tracePath, "utf8").catch(() => "")).split("\n").length;
    await update(id, OLD);
    const before = await lines();
    await faulty.arm({ victim: "nobody", at: 0 });
    await update(id, NEW);
    await faulty.arm({ victim: "nobody", at: -1 });
    return (await lines()) - before;
  }

  async function container(handler: string, isCreated: boolean): Promise<string> {
    const config = sandboxConfig(`update-${handler}-${isCreated}`);
    const asked = { config, runtimeHandler: handler };
    const { podSandboxId } = await faulty.call<{ podSandboxId: string }>("RunPodSandbox", asked);
    const request = { podSandboxId, sandboxConfig: config, config: containerConfig("one") };
    const { containerId } = await faulty.call<{ containerId: string }>("CreateContainer", request);
    if (!isCreated) await faulty.call("StartContainer", { containerId });
    return containerId;
  }

  async function sandboxOf(id: string): Promise<string> {
    const { containers } = await faulty.call<{ containers: { podSandboxId: string }[] }>("ListContainers", {
      filter: { id },
    });
    return containers[0]?.podSandboxId ?? "";
  }
});

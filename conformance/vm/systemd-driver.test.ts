/** The systemd cgroup driver, as a kubelet uses it. */
import assert from "node:assert/strict";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Message } from "../harness/cri-answers.ts";
import { CriClient } from "../harness/cri-client.ts";
import { containerConfig, sandboxConfig } from "../harness/cri-configs.ts";
import { processes } from "../recovery/processes.ts";
import { Installed, run } from "./installed.ts";

const MiB = 1 << 20;
const cgroups = "/sys/fs/cgroup";
const patienceMs = 120_000;

describe("the systemd cgroup driver", () => {
  let service: Installed;
  let cri: CriClient;

  before(async () => {
    service = await Installed.install("auto");
    await service.systemctl("start");
    await service.importBusybox();
    cri = CriClient.connect(service.paths.socket);
  });
  after(() => cri[Symbol.dispose]());

  it("is chosen where systemd is process 1 and cgroup v2 is alone, and a kubelet is told", async () => {
    const { linux } = await cri.call("RuntimeConfig", {});
    assert.deepEqual(linux, { cgroupDriver: "SYSTEMD" });
    assert.match(await service.logTail(), /"cgroup driver".*"driver":"systemd"/);
    assert.match(await service.check(), /ok +cgroup driver +systemd: /);
  });

  it("has launcher and monitors in the service's own cgroup, and hands no controller on", async () => {
    const path = await service.property("ControlGroup");
    assert.deepEqual(await children(path), ["nacelle"]);
    assert.deepEqual(new Set(await children(join(path, "nacelle"))), new Set(["monitors", "ops"]));
    assert.equal(await readFile(join(cgroups, path, "cgroup.subtree_control"), "utf8"), "");
  });

  it("refuses what is no slice, with the remedy", async () => {
    for (const cgroupParent of ["/kubepods/pod1", "/a.slice/b.slice"]) {
      const config = sandboxConfig("refused", { cgroupParent, hostNetwork: true });
      const call = cri.call("RunPodSandbox", { config });
      await assert.rejects(call, /INVALID_ARGUMENT: config.*cgroup_parent|INVALID_ARGUMENT: cgroup_parent/);
    }
  });

  for (const handler of ["runc", "crun"]) {
    describe(`with ${handler}`, () => {
      const cgroupParent = `kubepods-burstable-pod${handler}.slice`;
      const slice = `kubepods.slice/kubepods-burstable.slice/${cgroupParent}`;
      const config = sandboxConfig(handler, { cgroupParent, hostNetwork: true, pid: "POD" });
      let podSandboxId: string;
      let containerId: string;

      const scope = () => `nacelle-${containerId}.scope`;
      const file = (name: string) => join(cgroups, slice, scope(), name);
      const limit = async (name: string) => (await readFile(file(name), "utf8")).trim();
      /** Some of the scope's properties, as systemd shows them. */
      const shows = (...names: readonly string[]) => Promise.all(names.map((name) => property(scope(), name)));

      async function create(name: string, resources: Message, command?: readonly string[]): Promise<string> {
        const inside = containerConfig(name, { pid: "POD", resources, ...(command ? { command } : {}) });
        const request = { podSandboxId, sandboxConfig: config, config: inside };
        const created = await cri.call("CreateContainer", request);
        await cri.call("StartContainer", { containerId: created.containerId });
        return created.containerId;
      }

      async function answers(): Promise<void> {
        const cmd = ["echo", "here"];
        const { stdout } = await cri.call("ExecSync", { containerId, cmd, timeout: "60" });
        assert.equal(stdout.toString(), "here\n");
      }

      before(async () => {
        ({ podSandboxId } = await cri.call("RunPodSandbox", { config, runtimeHandler: handler }));
        const unified = { "memory.high": String(60 * MiB), "pids.max": "200" };
        containerId = await create("main", { cpuQuota: "50000", memoryLimitInBytes: String(64 * MiB), unified });
      });

      it("a container is a scope in its pod's slice, with its limits, and its processes are in the scope itself", async () => {
        assert.equal(await property(scope(), "ControlGroup"), `/${slice}/${scope()}`);
        // Whatever systemd does not know of is undone by this.
        await run("systemctl", "daemon-reload");
        assert.deepEqual(await shows("MemoryMax", "MemoryHigh", "CPUQuotaPerSecUSec"), [
          String(64 * MiB),
          String(60 * MiB),
          "500ms",
        ]);
        assert.deepEqual([await limit("memory.max"), await limit("memory.high")], [64 * MiB, 60 * MiB].map(String));
        assert.equal(await limit("cpu.max"), "50000 100000");
        assert.match(await limit("cgroup.procs"), /^\d+$/m);
        assert.equal(await limit("pids.max"), "200");
        assert.ok((await units("nacelle-*.scope")).includes(`nacelle-${podSandboxId}.scope`), "pause has a scope too");
        await answers();
      });

      it("changed limits are in force, and systemd does not take them back", async () => {
        const linux = {
          cpuQuota: "20000",
          cpuShares: "512",
          memoryLimitInBytes: String(96 * MiB),
          unified: { "memory.high": "83886080", "pids.max": "300" },
        };
        await cri.call("UpdateContainerResources", { containerId, linux });
        const inForce = async () => [await limit("memory.max"), await limit("memory.high"), await limit("cpu.max")];
        assert.deepEqual(await inForce(), [String(96 * MiB), String(80 * MiB), "20000 100000"]);
        assert.deepEqual(await shows("MemoryMax", "CPUQuotaPerSecUSec"), [String(96 * MiB), "200ms"]);
        await run("systemctl", "daemon-reload");
        await run("systemctl", "set-property", "--runtime", scope(), "CPUWeight=77");
        assert.deepEqual(await inForce(), [String(96 * MiB), String(80 * MiB), "20000 100000"]);
        assert.equal(await limit("pids.max"), "300");
      });

      it("statistics are those of scope and slice", async () => {
        const { stats } = await cri.call("ContainerStats", { containerId });
        const used = /"usageBytes":\{"value":"(\d+)"/.exec(JSON.stringify(stats))?.[1];
        assert.ok(Number(used) > 0, JSON.stringify(stats));
        const pod = await cri.call("PodSandboxStats", { podSandboxId });
        const processes = /"processCount":\{"value":"(\d+)"/.exec(JSON.stringify(pod))?.[1];
        assert.ok(Number(processes) >= 2, JSON.stringify(pod));
      });

      it("a container that runs out of memory is OOMKilled, and its scope is not kept", async () => {
        const limits = { memoryLimitInBytes: String(24 * MiB), memorySwapLimitInBytes: String(24 * MiB) };
        const hog = await create("hog", limits, ["sh", "-c", "exec dd if=/dev/zero of=/dev/null bs=64M count=1"]);
        const look = async () => (await cri.call("ContainerStatus", { containerId: hog })).status;
        const status = await seen(look, ({ state }) => state === "CONTAINER_EXITED");
        assert.deepEqual([status.exitCode, status.reason], [137, "OOMKilled"]);
        await cri.call("RemoveContainer", { containerId: hog });
        assert.deepEqual(
          (await units("nacelle-*.scope")).filter((name) => name.includes(hog)),
          [],
        );
      });

      it("pods outlive a restart of the service, and its death", async () => {
        const [pid] = (await limit("cgroup.procs")).split("\n");
        await service.systemctl("restart");
        await answers();
        await service.kill();
        await answers();
        assert.equal((await limit("cgroup.procs")).split("\n")[0], pid);
        const [monitor, ...others] = await processes("nacelle-monitor");
        assert.deepEqual(others, []);
        const group = await readFile(`/proc/${monitor}/cgroup`, "utf8");
        assert.equal(group.trim(), `0::${await service.property("ControlGroup")}/nacelle/monitors`);
      });

      it("a pod keeps its driver when that is another for new ones", async (t) => {
        const other = "/etc/nacelle/nacelle.yaml.d";
        await mkdir(other);
        await writeFile(join(other, "driver.yaml"), "cgroupDriver: cgroupfs\n");
        t.after(async () => {
          await rm(other, { recursive: true });
          await service.systemctl("restart");
        });
        await service.systemctl("restart");
        const { linux } = await cri.call("RuntimeConfig", {});
        assert.deepEqual(linux, { cgroupDriver: "CGROUPFS" });
        await answers();
        const changed = { memoryLimitInBytes: String(128 * MiB) };
        await cri.call("UpdateContainerResources", { containerId, linux: changed });
        assert.deepEqual(await limit("memory.max"), String(128 * MiB));
        assert.deepEqual(await shows("MemoryMax"), [String(128 * MiB)]);
        const asked = sandboxConfig(`${handler}-fs`, { cgroupParent: "/kubepods-fs/pod1", hostNetwork: true });
        const made = await cri.call("RunPodSandbox", { config: asked, runtimeHandler: handler });
        await cri.call("StopPodSandbox", made);
        await cri.call("RemovePodSandbox", made);
      });

      it("nothing of it is left when it is removed but the slice, which is its client's", async () => {
        await cri.call("StopContainer", { containerId, timeout: "10" });
        const { status } = await cri.call("ContainerStatus", { containerId });
        assert.equal(status.exitCode, 0);
        await cri.call("StopPodSandbox", { podSandboxId });
        await cri.call("RemovePodSandbox", { podSandboxId });
        assert.deepEqual(await units("nacelle-*.scope"), []);
        assert.deepEqual(await children(slice), []);
        await run("systemctl", "stop", cgroupParent);
      });

      it("a pod whose monitor was killed leaves no scope either", async () => {
        ({ podSandboxId } = await cri.call("RunPodSandbox", { config, runtimeHandler: handler }));
        containerId = await create("orphan", {});
        const names = [`nacelle-${podSandboxId}.scope`, scope()];
        const known = await units("nacelle-*.scope");
        assert.ok(
          names.every((name) => known.includes(name)),
          known.join(),
        );
        for (const pid of await processes("nacelle-monitor")) process.kill(pid, "SIGKILL");
        const look = async () => (await cri.call("PodSandboxStatus", { podSandboxId })).status;
        await seen(look, ({ state }) => state === "SANDBOX_NOTREADY");
        await cri.call("StopPodSandbox", { podSandboxId });
        await cri.call("RemovePodSandbox", { podSandboxId });
        assert.deepEqual(await units("nacelle-*.scope"), []);
        await run("systemctl", "stop", cgroupParent);
      });
    });
  }

  it("pods live on when the service is stopped, and wiping them leaves neither scopes nor monitors", async () => {
    const config = sandboxConfig("wiped", { cgroupParent: "", hostNetwork: true, pid: "POD" });
    await cri.call("RunPodSandbox", { config });
    const [scope = ""] = await units("nacelle-*.scope");
    assert.equal(await property(scope, "Slice"), "system.slice");
    const group = await service.property("ControlGroup");
    await service.systemctl("stop");
    assert.equal(await property(scope, "ActiveState"), "active");
    assert.ok((await children(join(group, "nacelle"))).includes("monitors"));
    await run("nacelle", "wipe");
    assert.deepEqual(await units("nacelle-*.scope"), []);
    assert.ok(!(await children("system.slice")).includes("nacelle.service"));
  });
});

/** Looks again until it is so, as a kubelet does: each look takes a while here. */
async function seen<T>(look: () => Promise<T>, isSo: (found: T) => boolean): Promise<T> {
  const deadline = AbortSignal.timeout(patienceMs);
  for (;;) {
    const found = await look();
    if (isSo(found)) return found;
    deadline.throwIfAborted();
  }
}

/** A property of a unit. */
async function property(unit: string, name: string): Promise<string> {
  return (await run("systemctl", "show", "--value", `--property=${name}`, unit)).trim();
}

/** Units that systemd knows, running or not. */
async function units(pattern: string): Promise<readonly string[]> {
  const text = await run("systemctl", "list-units", "--all", "--plain", "--no-legend", pattern);
  return text.split("\n").flatMap((line) => line.split(" ")[0] || []);
}

/** Names of the cgroups right below one. */
async function children(path: string): Promise<readonly string[]> {
  const entries = await readdir(join(cgroups, path), { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type ContainerOptions, containerConfig, type SandboxOptions, sandboxConfig } from "../harness/cri-configs.ts";
import type { TestNode } from "../harness/test-node.ts";

export interface Value {
  readonly value: string;
}

/** What the tests read of a ContainerStats. */
export interface ContainerStats {
  readonly attributes: { readonly id: string };
  readonly cpu: {
    readonly timestamp: string;
    readonly usageCoreNanoSeconds: Value;
    readonly usageNanoCores: Value | null;
  } | null;
  readonly memory: { readonly [field: string]: Value | null } | null;
  readonly writableLayer: {
    readonly timestamp: string;
    readonly fsId: { readonly mountpoint: string };
    readonly usedBytes: Value;
    readonly inodesUsed: Value;
  } | null;
}

export interface Interface {
  readonly name: string;
  readonly rxBytes: Value;
  readonly txBytes: Value;
}

/** What the tests read of a PodSandboxStats. */
export interface SandboxStats {
  readonly attributes: { readonly id: string };
  readonly linux: Pick<ContainerStats, "cpu" | "memory"> & {
    readonly network: { readonly defaultInterface: Interface | null; readonly interfaces: readonly Interface[] } | null;
    readonly process: { readonly processCount: Value } | null;
    readonly containers: readonly ContainerStats[];
  };
}

export interface Pod {
  readonly podSandboxId: string;
  readonly containerId: string;
  /** Path of its cgroup parent below each hierarchy's mount. */
  readonly cgroupParent: string;
}

/** A sandbox with one running container, and a cgroup parent of its own as a kubelet makes it. */
export async function startPod(
  { cri }: TestNode,
  name: string,
  options: { readonly handler?: string; readonly sandbox?: SandboxOptions; readonly container?: ContainerOptions } = {},
): Promise<Pod> {
  // Directly below the root: a parent is its kubelet's to remove.
  const cgroupParent = `/nacelle-conformance-${name}`;
  const config = sandboxConfig(name, { cgroupParent, ...options.sandbox });
  const { podSandboxId } = await cri.call("RunPodSandbox", { config, runtimeHandler: options.handler ?? "crun" });
  const request = { podSandboxId, sandboxConfig: config, config: containerConfig(name, options.container) };
  const { containerId } = await cri.call("CreateContainer", request);
  await cri.call("StartContainer", { containerId });
  return { podSandboxId, containerId, cgroupParent };
}

export async function removePod({ cri }: TestNode, { podSandboxId }: Pod): Promise<void> {
  await cri.call("StopPodSandbox", { podSandboxId });
  await cri.call("RemovePodSandbox", { podSandboxId });
}

export async function containerStats({ cri }: TestNode, { containerId }: Pod): Promise<ContainerStats> {
  return (await ask<{ readonly stats: ContainerStats }>(cri, "ContainerStats", { containerId })).stats;
}

export async function sandboxStats({ cri }: TestNode, { podSandboxId }: Pod): Promise<SandboxStats> {
  return (await ask<{ readonly stats: SandboxStats }>(cri, "PodSandboxStats", { podSandboxId })).stats;
}

/** The caller names the part of the answer that it reads. */
export async function ask<Answer>(cri: TestNode["cri"], name: string, request: object = {}): Promise<Answer> {
  return (await cri.call(name, { ...request })) as unknown as Answer;
}

export async function execute({ cri }: TestNode, { containerId }: Pod, script: string): Promise<string> {
  const { stdout, stderr, exitCode } = await cri.call("ExecSync", {
    containerId,
    cmd: ["sh", "-c", script],
    timeout: "60",
  });
  if (exitCode !== 0) throw new Error(`${script}: exit code ${exitCode}: ${stderr.toString()}`);
  return stdout.toString();
}

/** Looks again until what comes is what was waited for: there is no event for it. */
export async function eventually<T>(look: () => Promise<T>, isIt: (found: T) => boolean, limitMs = 20_000): Promise<T> {
  const end = performance.now() + limitMs;
  for (;;) {
    const found = await look();
    if (isIt(found)) return found;
    if (performance.now() > end) throw new Error(`not within ${limitMs} ms: ${JSON.stringify(found)}`);
    await delay(20);
  }
}

/** Processes of a role of the native binary. */
export async function native(role: "launcher" | "stats"): Promise<readonly number[]> {
  const found: number[] = [];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const command = await readFile(`/proc/${pid}/cmdline`, "latin1").catch(() => "");
    const status = await readFile(`/proc/${pid}/stat`, "latin1").catch(() => ") Z");
    if (new RegExp(`nacelle-native\0${role}\0`).test(command) && !status.includes(") Z")) found.push(Number(pid));
  }
  return found;
}

/** CPU time of a cgroup in nanoseconds, from the file itself. */
export async function cpuOf(cgroup: string): Promise<number> {
  const table = (await readFile("/proc/self/mounts", "utf8")).split("\n").map((line) => line.split(" "));
  const v1 = table.findLast(([, , type, options]) => type === "cgroup" && options?.split(",").includes("cpuacct"));
  if (v1 !== undefined) return Number(await readFile(join(v1[1] ?? "", cgroup, "cpuacct.usage"), "utf8"));
  const v2 = table.findLast(([, , type]) => type === "cgroup2");
  const text = await readFile(join(v2?.[1] ?? "", cgroup, "cpu.stat"), "utf8");
  return Number(/usage_usec (\d+)/.exec(text)?.[1]) * 1_000;
}

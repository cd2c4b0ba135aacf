import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Message } from "../harness/cri-answers.ts";
import { containerConfig, sandboxConfig } from "../harness/cri-configs.ts";
import type { TestNode } from "../harness/test-node.ts";

/** Of every sandbox here. */
const parent = "/nacelle-conformance";

/** These tests read limits back from the files of cgroup v1. */
export const skipWithoutV1 = existsSync("/sys/fs/cgroup/memory") ? false : "needs a memory controller of cgroup v1";

/** What the kernel has in force for a container, in the words of cgroup v1. */
export interface InForce {
  readonly memory: number;
  readonly memoryAndSwap: number;
  readonly shares: number;
  readonly quota: number;
  readonly period: number;
  readonly cpus: string;
  readonly hugepages: number;
}

/** Reads them back from cgroup v1. */
export async function inForce(id: string): Promise<InForce> {
  const read = async (controller: string, file: string) =>
    (await readFile(join("/sys/fs/cgroup", controller, parent, id, file), "utf8")).trim();
  return {
    memory: bytes(await read("memory", "memory.limit_in_bytes")),
    memoryAndSwap: bytes(await read("memory", "memory.memsw.limit_in_bytes")),
    shares: Number(await read("cpu", "cpu.shares")),
    quota: Number(await read("cpu", "cpu.cfs_quota_us")),
    period: Number(await read("cpu", "cpu.cfs_period_us")),
    cpus: await read("cpuset", "cpuset.cpus"),
    hugepages: Number(await read("hugetlb", "hugetlb.2MB.limit_in_bytes")),
  };
}

/** No limit is the largest number of whole pages, and here infinite. */
function bytes(text: string): number {
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : Number.POSITIVE_INFINITY;
}

/** oom_score_adj of every process in the container. */
export async function scores(id: string): Promise<readonly number[]> {
  const pids = await readFile(join("/sys/fs/cgroup/memory", parent, id, "cgroup.procs"), "utf8");
  const all = pids.trim().split("\n");
  return await Promise.all(all.map(async (pid) => Number(await readFile(`/proc/${pid}/oom_score_adj`, "utf8"))));
}

export interface Pod {
  readonly podSandboxId: string;
  readonly containerId: string;
}

/** A sandbox and a container in it, which is started unless it is to be left created. */
export async function pod(
  node: TestNode,
  name: string,
  options: {
    readonly handler: string;
    readonly resources?: Message;
    readonly created?: boolean;
    readonly command?: string;
    readonly cgroupParent?: string;
  },
): Promise<Pod> {
  const { cgroupParent = parent } = options;
  const config = sandboxConfig(name, { cgroupParent });
  const { podSandboxId } = await node.cri.call("RunPodSandbox", { config, runtimeHandler: options.handler });
  const inside = containerConfig(name, {
    resources: { memorySwapLimitInBytes: "67108864", ...options.resources },
    ...(options.command === undefined ? {} : { command: ["sh", "-c", options.command] }),
  });
  const request = { podSandboxId, sandboxConfig: config, config: inside };
  const { containerId } = await node.cri.call("CreateContainer", request);
  if (options.created !== true) await node.cri.call("StartContainer", { containerId });
  return { podSandboxId, containerId };
}

export async function removePod(node: TestNode, { podSandboxId }: Pod): Promise<void> {
  await node.cri.call("StopPodSandbox", { podSandboxId });
  await node.cri.call("RemovePodSandbox", { podSandboxId });
}

/** What ContainerStatus shows, without what is 0 or empty. */
export async function shown(node: TestNode, containerId: string): Promise<Message> {
  const { status } = await node.cri.call("ContainerStatus", { containerId });
  const linux = status.resources?.linux ?? {};
  return Object.fromEntries(Object.entries(linux).filter(([name, value]) => !isUnspecified(name, value)));
}

function isUnspecified(name: string, value: unknown): boolean {
  if (typeof value === "object") return JSON.stringify(value) === "[]" || JSON.stringify(value) === "{}";
  return value === (name.startsWith("cpuset") ? "" : "0");
}

import type { CriClient } from "../conformance/harness/cri-client.ts";
import { busybox, containerConfig, sandboxConfig } from "../conformance/harness/cri-configs.ts";

const AT_ONCE = 4;

/** Starts pods of one container each, on the bridge, each with a cgroup parent of its own as a kubelet gives it. */
export async function startPods(cri: CriClient, prefix: string, count: number, handler: string): Promise<void> {
  await cri.call("PullImage", { image: { image: busybox } });
  const names = Array.from({ length: count }, (_, index) => `${prefix}-${index}`).values();
  const worker = async () => {
    for (const name of names) await startPod(cri, name, handler);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

async function startPod(cri: CriClient, name: string, runtimeHandler: string): Promise<void> {
  const config = sandboxConfig(name, { cgroupParent: `/bench/${name}` });
  const { podSandboxId } = await cri.call("RunPodSandbox", { config, runtimeHandler });
  const request = { podSandboxId, config: containerConfig("app"), sandboxConfig: config };
  const { containerId } = await cri.call("CreateContainer", request);
  await cri.call("StartContainer", { containerId });
}

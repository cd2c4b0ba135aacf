import type { ClusterNode } from "./cluster-node.ts";
import { fullName } from "./pod.ts";

/** Every sandbox and container of the named pods, as sorted lines with attempt, state and id: equal if none was made anew. */
export async function census(node: ClusterNode, pods: readonly string[]): Promise<string[]> {
  const lines: string[] = [];
  for (const pod of pods) {
    const labelSelector = { "io.kubernetes.pod.name": fullName(pod) };
    const { items } = await node.cri.call("ListPodSandbox", { filter: { labelSelector } });
    const { containers } = await node.cri.call("ListContainers", { filter: { labelSelector } });
    for (const { id, metadata, state } of [...items, ...containers]) {
      lines.push(`${pod} ${metadata.name} attempt ${metadata.attempt} ${state} ${id}`);
    }
  }
  return lines.toSorted((a, b) => a.localeCompare(b));
}

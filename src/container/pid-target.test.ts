import assert from "node:assert/strict";
import { it } from "node:test";
import { aContainer, aContainerConfig, epoch } from "./container.fixture.ts";
import type { ContainerState } from "./container.ts";
import { requireTarget } from "./pid-target.ts";

const running: ContainerState = { phase: "running", pid: 7, startTime: "1", startedAt: epoch };
const created: ContainerState = { phase: "created", pid: 7, startTime: "1", collected: true };

function asking(pid: "target" | "pod", targetId: string) {
  const { security } = aContainerConfig({});
  return { security: { ...security, namespaces: { ...security.namespaces, pid, targetId } } };
}

it("a container joins the PID namespace of a running one of its own sandbox only", () => {
  const target = aContainer(running);
  const containers = (state: ContainerState) => ({
    get: (id: string) => (id === target.id ? { ...target, state } : undefined),
  });
  requireTarget(containers(running), target.sandboxId, asking("target", target.id));
  requireTarget(containers(running), target.sandboxId, asking("pod", ""));
  const refused = (state: ContainerState, sandboxId: string, targetId: string) =>
    assert.throws(() => requireTarget(containers(state), sandboxId, asking("target", targetId)), /target_id/);
  refused(running, "another", target.id);
  refused(running, target.sandboxId, "absent");
  refused(created, target.sandboxId, target.id);
});

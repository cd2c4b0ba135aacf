import assert from "node:assert/strict";
import { it } from "node:test";
import { OperationError } from "../launcher/operation-error.ts";
import type { Operation, Operations } from "../launcher/operations.ts";
import { aContainer, aContainerConfig, epoch } from "./container.fixture.ts";
import type { ContainerState } from "./container.ts";
import { requireSameProcess, requireTarget } from "./pid-target.ts";

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

it("a process whose number has gone to another is not the one that was joined", async () => {
  const fields = Array.from({ length: 50 }, (_, index) => (index === 19 ? "4711" : "0")).join(" ");
  const looking = (answer: Error | string): Operations => ({
    run: () => assert.fail("nothing is run"),
    perform: async (operations: readonly Operation[]) => {
      assert.deepEqual(operations, [{ op: "readInRoot", root: "/proc", path: "7/stat", max: 4_096 }]);
      if (typeof answer !== "string") throw answer;
      return [Buffer.from(answer)];
    },
  });
  const require = (answer: Error | string) => requireSameProcess(looking(answer), "c", { pid: 7, startTime: "4711" });
  await require(`7 (a) S 1) ${fields}`);
  const gone = { kind: "failedPrecondition", message: /process 7.* has ended/ };
  await assert.rejects(require(`7 (x) ${fields.replace("4711", "4712")}`), gone);
  const failed = (errno: number) =>
    OperationError.failed("looking", { errno, syscall: "openat2", path: "7/stat", index: 0 });
  await assert.rejects(require(failed(2)), gone);
  await assert.rejects(require(failed(3)), gone);
  await assert.rejects(require(failed(5)), { code: "EIO" });
});

import assert from "node:assert/strict";
import { it } from "node:test";
import { aContainer, epoch } from "../../container/container.fixture.ts";
import { fromContainersOfPod } from "./container-status.ts";

it("the containers of a pod are told newest first: a kubelet takes the first of a name for the latest", () => {
  const base = aContainer({ phase: "discarded" });
  const attempt = (number: number, seconds: number) => ({
    ...base,
    id: `${number}`,
    state: { phase: "created", pid: 1, startTime: "1", collected: true } as const,
    createdAt: epoch.add({ seconds }),
  });
  const told = fromContainersOfPod([attempt(0, 0), attempt(2, 20), attempt(1, 10)]);
  assert.deepEqual(
    told.map(({ id }) => id),
    ["2", "1", "0"],
  );
});

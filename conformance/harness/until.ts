import assert from "node:assert/strict";
import { setImmediate as breathe } from "node:timers/promises";
import type { CriClient } from "./cri-client.ts";
import { patience } from "./patience.ts";

/** Nothing that is waited for takes as long: what has not come by then will not come. */
const PATIENCE_MS = patience(60_000);

/** Looks until it is so, where nothing tells of it. Throws an AssertionError at the deadline that says what did not come. */
export async function until(what: string, isSo: () => boolean | Promise<boolean>, ms = PATIENCE_MS): Promise<void> {
  const deadline = performance.now() + ms;
  while (!(await isSo())) {
    assert.ok(performance.now() < deadline, `not within ${ms / 1000} s: ${what}`);
    await breathe();
  }
}

/** The status of a container once it has ended: looked for as a kubelet does, since the CRI has no call that waits. */
export async function endOf(cri: CriClient, containerId: string) {
  const look = async () => (await cri.call("ContainerStatus", { containerId })).status;
  let status = await look();
  await until(`container ${containerId} ends`, async () => {
    if (status.state !== "CONTAINER_EXITED") status = await look();
    return status.state === "CONTAINER_EXITED";
  });
  return status;
}

import assert from "node:assert/strict";
import { removeCgroupParent } from "./leftovers.ts";
import type { Cast } from "./ordinary-life.ts";
import { images, type Stage } from "./stage.ts";

/** Everything is stopped and removed. `after` ends with 42 when it is asked to. */
export async function removeAll(stage: Stage, cast: Cast, after: string): Promise<void> {
  const { narrator, pods, cri } = stage;
  narrator.chapter("All is stopped and removed");
  await narrator.step("shop/after, asked to end, ends with exit code 42", async () => {
    await pods.log(cast.shop, "after", "ready");
    assert.equal(await pods.stop(after), 42);
  });
  await narrator.step("shop/web, asked to end, ends with exit code 0", async () => {
    assert.equal(await pods.stop(cast.web), 0);
  });
  await narrator.step("the three pods are removed, and no pod or container is listed", async () => {
    const { items } = await cri.call("ListPodSandbox", {});
    assert.equal(items.length, 3);
    await Promise.all(items.map(({ id }) => pods.remove(id)));
    assert.deepEqual((await cri.call("ListPodSandbox", {})).items, []);
    assert.deepEqual((await cri.call("ListContainers", {})).containers, []);
  });
  await narrator.step("the images are removed, and none is listed", async () => {
    for (const image of Object.values(images)) await cri.call("RemoveImage", { image: { image } });
    assert.deepEqual((await cri.call("ListImages", {})).images, []);
  });
}

/** Looks for everything that pods had held. */
export async function nothingIsLeft({ narrator, server, leftovers }: Stage): Promise<void> {
  narrator.chapter("Nothing is left");
  await narrator.step(
    "nothing is found now",
    () => leftovers.assertNone(),
    (none: string) => `found now: ${none}`,
  );
  await narrator.step("the kernel lets the pods' cgroup parent go: it is empty", () => removeCgroupParent());
  await narrator.step("SIGTERM ends the server with exit code 0", async () => {
    assert.equal(await server.stop(), "exit code 0");
  });
  await narrator.step("no process of nacelle is left, and no row of a pod, container or network in its state", () =>
    leftovers.assertNoTrace(),
  );
}

import assert from "node:assert/strict";
import { access, watch } from "node:fs/promises";
import type { Cast } from "./ordinary-life.ts";
import { page } from "./pods.ts";
import { images, type Stage } from "./stage.ts";

/** SIGKILL while a pod is half made; containers live on, one ends meanwhile; then the server comes back and goes on. */
export async function crash(stage: Stage, cast: Cast): Promise<void> {
  const { narrator, pods, server, leftovers } = stage;
  narrator.chapter("The server is killed, and nobody notices");
  const before = await narrator.step("the first processes of web and httpd are noted", () => births(stage, cast));
  const workerPid = await pods.pid(cast.worker);
  await narrator.step(
    "SIGKILL as soon as pod late has its network namespace",
    () => killHalfway(stage),
    (call: string) => `SIGKILL as soon as pod late has its network namespace; RunPodSandbox was ${call}`,
  );
  const killedAt = Temporal.Now.instant();
  await narrator.step("both pages are still served", async () => {
    for (const { ip } of [cast.shop, cast.api]) assert.equal(await page(`http://${ip}/`), "<p>it works\n");
  });
  const log = await narrator.step("shop/worker is told to end, logs it and ends, with no server there", async () => {
    await cast.tellWorker.send("time to go");
    const text = await pods.log(cast.shop, "worker", "time to go");
    await gone(workerPid);
    return text;
  });
  narrator.quote(log.trimEnd().split("\n").at(-1) ?? "");
  await narrator.step(
    "on disk, the state has the pods' rows",
    () => leftovers.rowsWhileDead(),
    (rows: string) => `on disk, the state has rows of ${rows}`,
  );
  const restartedAt = Temporal.Now.instant();
  await narrator.step("the server is started again and answers", () => server.restart());
  await narrator.step(
    "shop/worker's exit code is kept, and the time when it ended",
    async () => {
      const { state, exitCode, finishedAt } = await pods.status(cast.worker);
      assert.deepEqual([state, exitCode], ["CONTAINER_EXITED", 7]);
      const at = Temporal.Instant.fromEpochNanoseconds(BigInt(finishedAt));
      assert.ok(Temporal.Instant.compare(killedAt, at) < 0 && Temporal.Instant.compare(at, restartedAt) < 0);
      return exitCode;
    },
    (code: number) => `shop/worker's exit code is ${code}, at the time when it ended`,
  );
  await narrator.step("web and httpd are the same processes as before", async () => {
    assert.deepEqual(await births(stage, cast), before);
  });
}

/** A retry of the call that the crash cut off, and a new container in a pod from before it. */
export async function goOn(stage: Stage, cast: Cast): Promise<string> {
  const { narrator, pods, cri } = stage;
  const late = await narrator.step("RunPodSandbox of pod late, repeated as a kubelet does, makes one pod", async () => {
    const pod = await pods.run("late", "crun");
    const { items } = await cri.call("ListPodSandbox", {});
    assert.deepEqual(items.map(({ metadata }) => metadata.name).toSorted(), ["api", "late", "shop"]);
    return pod;
  });
  await narrator.step("late has an address of its own", () => {
    assert.equal(new Set([late.ip, cast.shop.ip, cast.api.ip]).size, 3);
  });
  return await narrator.step("shop/after is a new container in the pod from before", () =>
    pods.start(cast.shop, "after", {
      image: images.busybox,
      command: ["sh", "-c", "trap 'exit 42' TERM; echo ready; while :; do sleep 0.05; done"],
    }),
  );
}

/** When each container's first process began, in clock ticks since boot: no other process has the same. */
async function births({ pods }: Stage, { web, httpd }: Cast): Promise<readonly string[]> {
  const asked = [web, httpd].map((id) => pods.exec(id, "sh", "-c", "cut -d' ' -f22 /proc/1/stat"));
  const ticks = (await Promise.all(asked)).map(({ stdout }) => stdout.trim());
  for (const tick of ticks) assert.match(tick, /^\d+$/);
  return ticks;
}

/** Answers how the call for pod late ended: a machine under load may let it win the race. */
async function killHalfway({ pods, cri, server }: Stage): Promise<string> {
  const enough = new AbortController();
  const changes = watch(server.paths.netnsDir, { signal: enough.signal })[Symbol.asyncIterator]();
  const pinned = changes.next();
  const call = cri.call("RunPodSandbox", await pods.request("late", "crun")).then(
    () => "answered just before",
    () => "cut off",
  );
  await pinned;
  enough.abort();
  await server.kill();
  return await call;
}

/** There is no event for the end of a process that is not our child, so it is looked for again and again. */
async function gone(pid: number): Promise<void> {
  const deadline = AbortSignal.timeout(20_000);
  const lives = () =>
    access(`/proc/${pid}`).then(
      () => true,
      () => false,
    );
  while (await lives()) deadline.throwIfAborted();
}

import assert from "node:assert/strict";
import { CriClient } from "../harness/cri-client.ts";
import { Server } from "../harness/server.ts";
import { builtLayout, layoutEntries } from "../images/layout.ts";
import { pushLayout } from "../images/push.ts";
import { Registry } from "../images/registry.ts";
import { crash, goOn } from "./crash.ts";
import { nothingIsLeft, removeAll } from "./ending.ts";
import { Leftovers } from "./leftovers.ts";
import { Narrator } from "./narrator.ts";
import { logsAndExec, pull, runPods } from "./ordinary-life.ts";
import { Pods } from "./pods.ts";
import type { Stage } from "./stage.ts";

const cleanUpMs = 20_000;

/** The registry with the images, as a node finds one on its network. */
async function openRegistry(narrator: Narrator): Promise<Registry> {
  narrator.chapter("A registry");
  const layout = await narrator.step(
    "images are built from Debian's busybox and nginx",
    builtLayout,
    (folder: string) => `images from Debian's busybox and nginx, in ${folder.split("/").slice(-3).join("/")}`,
  );
  await using undo = new AsyncDisposableStack();
  const registry = undo.use(
    await narrator.step(
      "Debian's docker-registry serves",
      Registry.start,
      ({ address }: Registry) => `Debian's docker-registry serves on ${address}`,
    ),
  );
  const count = (await layoutEntries(layout)).length;
  assert.ok(count > 0);
  await narrator.step(`it holds ${count} references`, () => pushLayout(layout, registry.address));
  undo.move();
  return registry;
}

async function openServer(narrator: Narrator, mirror: string): Promise<Server> {
  narrator.chapter("The server");
  return await narrator.step("nacelle answers on its socket", () => Server.start({ mirror }));
}

async function greet({ narrator, cri }: Pick<Stage, "narrator" | "cri">): Promise<void> {
  await narrator.step(
    "it is nacelle, and ready",
    async () => {
      const { runtimeName, runtimeVersion } = await cri.call("Version", {});
      assert.equal(runtimeName, "nacelle");
      const { conditions } = (await cri.call("Status", {})).status;
      assert.deepEqual(
        conditions.map(({ type, status }) => [type, status]),
        [
          ["RuntimeReady", true],
          ["NetworkReady", true],
        ],
      );
      return `it is ${runtimeName} ${runtimeVersion}, and says RuntimeReady and NetworkReady`;
    },
    (said: string) => said,
  );
}

async function play(stage: Stage): Promise<void> {
  await pull(stage);
  const cast = await runPods(stage);
  await logsAndExec(stage, cast);
  await crash(stage, cast);
  const after = await goOn(stage, cast);
  await removeAll(stage, cast, after);
  await nothingIsLeft(stage);
}

/**
 * Removes the pods that an unfinished demo leaves, with a new server if the old one is dead. Processes and mounts would
 * end with the namespaces anyway; cgroups need not.
 */
async function removePods(server: Server, cri: CriClient): Promise<void> {
  if (!server.isRunning) await server.restart();
  const within = { deadlineMs: cleanUpMs };
  const { items } = await cri.call("ListPodSandbox", {}, within);
  for (const { id: podSandboxId } of items) await cri.call("RemovePodSandbox", { podSandboxId }, within);
}

/** Plays it all and takes everything down, however it ends. */
async function perform(narrator: Narrator): Promise<void> {
  await using owned = new AsyncDisposableStack();
  const registry = owned.use(await openRegistry(narrator));
  const server = owned.use(await openServer(narrator, registry.address));
  const cri = owned.use(CriClient.connect(server.paths.socket));
  const stage = { narrator, server, cri, pods: new Pods(cri, server.paths.folder) };
  try {
    await greet(stage);
    await play({ ...stage, leftovers: await Leftovers.since(server) });
  } catch (error) {
    narrator.explain(error, await server.logTail());
    await removePods(server, cri);
    throw error;
  }
}

/** Resolves with the exit code; everything that was started has ended then. */
async function main(interrupted: AbortSignal): Promise<number> {
  const started = performance.now();
  const narrator = new Narrator(interrupted);
  try {
    await perform(narrator);
  } catch (error) {
    if (interrupted.aborted) return 130;
    narrator.explain(error);
    return 1;
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  process.stdout.write(`\n${narrator.steps} steps, each checked, in ${seconds} s\n`);
  return 0;
}

/**
 * `script/demo`: nacelle from the first pull to the last removal, with a crash in between. Exit code 0: all that was
 * printed was checked and holds; 1: something does not; 130: it was interrupted and has cleaned up.
 */
const interruption = new AbortController();
interruption.signal.addEventListener("abort", () => process.stdout.write("\ninterrupted: removing everything\n"));
for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => interruption.abort());
process.exitCode = await main(interruption.signal);

import assert from "node:assert/strict";
import { mkdtempDisposable, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { assertNoStateRows, assertNothingLeaked, snapshot } from "../harness/leaks.ts";
import { builtLayout } from "../images/layout.ts";
import { pushLayout } from "../images/push.ts";
import { Registry } from "../images/registry.ts";
import { FaultyServer } from "./faulty-server.ts";
import type { Orders } from "./kill-at-step.ts";
import { type Ended, livePod, type Pod } from "./pod-life.ts";

const image = "registry.k8s.io/e2e-test-images/busybox:1.29-2";
const victims = ["daemon", "launcher", "monitor"] as const;
/** About the number of steps in a life: a kill beyond it would not happen. */
const LAST_STEP = 125;
const usual = { handler: "crun", pid: 0 } as const;
const RANDOM_KILLS = Number(process.env["NACELLE_RANDOM_KILLS"] ?? 100);

describe("a pod's life with a process killed at every step", () => {
  let faulty: FaultyServer;
  let logs: string;
  let clean: Awaited<ReturnType<typeof snapshot>>;
  const owned = new AsyncDisposableStack();

  before(async () => {
    const folder = owned.use(await mkdtempDisposable(join(tmpdir(), "f-")));
    const registry = owned.use(await Registry.start());
    await pushLayout(await builtLayout(), registry.address);
    logs = join(folder.path, "logs");
    faulty = owned.use(await FaultyServer.start(join(folder.path, "faults"), { mirror: registry.address }));
    await faulty.call("PullImage", { image: { image } });
    // One life before the first look: the bridge and its chains stay, as their plugins mean them to.
    await livePod(faulty, pod("warm", usual));
    clean = await snapshot(faulty.server.paths);
  });
  after(() => owned.disposeAsync());

  type Kind = Pick<Pod, "handler" | "pid" | "firstId">;
  const pod = (name: string, kind: Kind): Pod => ({ name, image, logDirectory: logs, ...kind });

  async function lifeWith(orders: Omit<Orders, "runDir">, name: string, kind: Kind): Promise<void> {
    await faulty.revive(); // after a life that failed
    await faulty.arm(orders);
    const ended = await livePod(faulty, pod(name, kind));
    checkEndings(ended, orders);
    await faulty.revive(); // a step may come after the last answer
    await faulty.arm({ victim: "nobody", at: -1 });
    await assertNothingLeaked(clean, faulty.server.paths);
  }

  for (const victim of victims) {
    it(`${victim}: every commit, every frame sent, every frame received, once each`, async (t) => {
      const steps = await countSteps(`count-${victim}`);
      t.diagnostic(`${steps} steps`);
      for (let at = 1; at <= steps; at++) {
        await naming(`${victim} killed at step ${at} of ${steps}`, () =>
          lifeWith({ victim, at }, `${victim}-${at}`, usual),
        );
      }
    });
  }

  it(`${RANDOM_KILLS} random ones, with both runtimes, both kinds of PID namespace, and user namespaces`, async (t) => {
    const seed = Number(process.env["NACELLE_SEED"] ?? Date.now() % 1_000_000);
    t.diagnostic(`seed ${seed}`);
    const random = randomFrom(seed);
    for (let round = 1; round <= RANDOM_KILLS; round++) {
      const victim = victims[Math.floor(random() * victims.length)] ?? "daemon";
      const at = 1 + Math.floor(random() * LAST_STEP);
      const [handler, pid] = [random() < 0.5 ? "runc" : "crun", random() < 0.5 ? 0 : 1] as const;
      // Debian's runc cannot give them.
      const ids = handler === "crun" && random() < 0.5 ? { firstId: 100_000 } : {};
      const what = `seed ${seed}, round ${round}: ${victim} killed at step ${at}, ${handler}${"firstId" in ids ? " with ids" : ""}`;
      await naming(what, () => lifeWith({ victim, at }, `random-${round}`, { handler, pid, ...ids }));
    }
  });

  it("leaves no row", async (t) => {
    t.diagnostic(`the server was started again ${faulty.restarts} times`);
    await faulty.call("RemoveImage", { image: { image } });
    assert.equal(await faulty.server.stop(), "exit code 0");
    await assertNoStateRows(faulty.server.paths);
  });

  async function countSteps(name: string): Promise<number> {
    const before = await traceLength();
    await lifeWith({ victim: "nobody", at: 0 }, name, usual);
    return (await traceLength()) - before;
  }

  async function traceLength(): Promise<number> {
    const text = await readFile(faulty.tracePath, "utf8").catch(() => "");
    return text.split("\n").length - 1;
  }
});

/** True codes only; "nobody knows" (255, MonitorLost) is true where the one who knew was killed. */
function checkEndings(ended: readonly Ended[], { victim }: Pick<Orders, "victim">): void {
  const expected: Readonly<Record<string, number>> = { quick: 7, slow: 42 };
  for (const { container, exitCode, reason } of ended) {
    if (victim === "monitor" && exitCode === 255 && reason === "MonitorLost") continue;
    assert.deepEqual({ container, exitCode, reason }, { container, exitCode: expected[container], reason: "Error" });
  }
}

async function naming(what: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    throw new Error(`${what}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

/** Mulberry32: the same numbers for the same seed. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

import assert from "node:assert/strict";
import { mkdir, mkdtempDisposable, readFile, rename } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { CriClient } from "../harness/cri-client.ts";
import { busybox, containerConfig, sandboxConfig } from "../harness/cri-configs.ts";
import { assertNoStateRows, assertNothingLeaked, snapshot } from "../harness/leaks.ts";
import { SpdyClient } from "../harness/spdy-client.ts";
import { exec, SpdySession, streamUrl } from "../harness/streams.ts";
import { until } from "../harness/until.ts";
import { builtLayout } from "../images/layout.ts";
import { pushLayout } from "../images/push.ts";
import { Registry } from "../images/registry.ts";
import { FaultyServer } from "./faulty-server.ts";
import type { Orders } from "./kill-at-step.ts";

const victims = ["daemon", "launcher", "monitor"] as const;
/** Each victim at each step, instead of one of them. */
const EVERY = process.env["NACELLE_KILLS_EVERY"] === "1";
const SEED = Number(process.env["NACELLE_SEED"] ?? Date.now() % 1_000_000);
/** Nothing that is asked here takes as long: what has not ended by then hangs. */
const HANGS_MS = 40_000;
/** Serves a port, says then that it is up, again and again, and hears SIGTERM. */
const COMMAND = `trap 'exit 42' TERM; nc -ll -p 8080 -e echo hello &
until netstat -ltn | grep -q :8080; do :; done
while :; do echo up; sleep 0.05; done`;

interface Place {
  readonly podSandboxId: string;
  readonly containerId: string;
  readonly log: string;
}

describe("what is asked of a running container, with a process killed at every step", () => {
  const owned = new AsyncDisposableStack();
  let faulty: FaultyServer;
  let cri: CriClient;
  let logs: string;
  let clean: Awaited<ReturnType<typeof snapshot>>;
  let pods = 0;

  before(async () => {
    const folder = owned.use(await mkdtempDisposable(join(tmpdir(), "s-")));
    const registry = owned.use(await Registry.start());
    await pushLayout(await builtLayout(), registry.address, [busybox]);
    logs = join(folder.path, "logs");
    faulty = owned.use(await FaultyServer.start(join(folder.path, "faults"), { mirror: registry.address }));
    cri = owned.use(CriClient.connect(faulty.server.paths.socket));
    await faulty.call("PullImage", { image: { image: busybox } });
    await remove(await pod("crun"));
    clean = await snapshot(faulty.server.paths);
  });
  after(() => owned.disposeAsync());

  /** Each resolves only if what it was told is true; without an answer it rejects. */
  const acts: Readonly<Record<string, (place: Place) => Promise<void>>> = {
    "a command that is waited for": async ({ containerId }) => {
      const cmd = ["sh", "-c", "echo said; exit 3"];
      const { exitCode, stdout } = await cri.call("ExecSync", { containerId, cmd, timeout: "20" });
      assert.deepEqual([exitCode, String(stdout)], [3, "said\n"]);
    },
    "a command with a client": async ({ containerId }) => {
      const cmd = ["sh", "-c", "read line; echo heard $line; exit 3"];
      await using session = await exec(cri, containerId, cmd, "stdin", "stdout");
      await session.stream("stdin").write("me\n");
      const heard = await session.stream("stdout").text();
      assert.deepEqual([await session.exitCode(), heard], [3, "heard me\n"]);
    },
    "a client that is attached": async ({ containerId }) => {
      const url = await streamUrl(cri, "Attach", { containerId, stdout: true });
      await using session = await SpdySession.open(url, "stdout");
      const stdout = session.stream("stdout");
      const { promise, resolve } = Promise.withResolvers<Buffer>();
      stdout.listen((data) => resolve(Buffer.from(data)));
      const cut = stdout.ended.then(() => {
        throw new Error("it was cut");
      });
      assert.match(String(await Promise.race([promise, cut])), /^(up\n)+$/);
    },
    "a forwarded port": async ({ podSandboxId }) => {
      const url = await streamUrl(cri, "PortForward", { podSandboxId });
      await using client = await SpdyClient.connect(url, ["portforward.k8s.io"]);
      const pair = { port: "8080", requestid: "0" };
      const error = await client.open({ streamtype: "error", ...pair });
      const data = await client.open({ streamtype: "data", ...pair });
      data.end();
      const heard = await data.text();
      assert.ok("hello\n".startsWith(heard), heard);
      // With the monitor the container ends, and so does what it had connected.
      if (heard !== "hello\n") throw new Error((await error.text()) || "it was cut");
    },
    "a rotated log": async ({ containerId, log }) => {
      await rename(log, `${log}.1`).catch(() => undefined);
      await cri.call("ReopenContainerLog", { containerId });
      await readFile(log);
    },
  };

  for (const [name, act] of Object.entries(acts)) {
    it(`${name}: nothing hangs, nothing false is told, and it works again`, async (t) => {
      const handler = pods % 2 === 0 ? "crun" : "runc";
      let place = await pod(handler);
      const steps = await countSteps(() => within(act(place)));
      t.diagnostic(`${steps} steps, seed ${SEED}, ${handler}`);
      assert.ok(steps >= 2, `${steps} steps`);
      for (let at = 1; at <= steps; at++) {
        for (const victim of EVERY ? victims : [victims[(at + SEED) % victims.length] ?? "daemon"]) {
          const where = `${victim} killed at step ${at} of ${steps}, seed ${SEED}`;
          place = await killedAt(act, place, handler, { victim, at }).catch((error: unknown) => {
            throw new Error(`${where}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
          });
        }
      }
      await remove(place);
      await assertNothingLeaked(clean, faulty.server.paths, 15_000);
    });
  }

  it("leaves no row", async () => {
    await faulty.call("RemoveImage", { image: { image: busybox } });
    assert.equal(await faulty.server.stop(), "exit code 0");
    await assertNoStateRows(faulty.server.paths);
  });

  /** Where it goes on: in a pod of its own when the monitor, which knew of the container, was killed. */
  async function killedAt(
    act: (place: Place) => Promise<void>,
    place: Place,
    handler: string,
    orders: Omit<Orders, "runDir">,
  ): Promise<Place> {
    await faulty.arm(orders);
    await within(act(place)).catch((error: unknown) => {
      if (error instanceof assert.AssertionError) throw error; // it was told something false, or it hangs
    });
    const isLost = orders.victim === "monitor" && (await faulty.hasKilled());
    await faulty.revive();
    await faulty.arm({ victim: "nobody", at: -1 });
    if (isLost) {
      await until("it is told lost", async () => (await told(place)).state !== "CONTAINER_RUNNING");
      const { state, exitCode, reason } = await told(place);
      assert.deepEqual([state, exitCode, reason], ["CONTAINER_EXITED", 255, "MonitorLost"]);
      await remove(place);
    } else {
      assert.equal((await told(place)).state, "CONTAINER_RUNNING");
    }
    const next = isLost ? await pod(handler) : place;
    await repeated(() => within(act(next)));
    return next;
  }

  async function countSteps(work: () => Promise<void>): Promise<number> {
    const lines = async () => (await readFile(faulty.tracePath, "utf8").catch(() => "")).split("\n").length;
    const before = await lines();
    await faulty.arm({ victim: "nobody", at: 0 });
    await work();
    await faulty.arm({ victim: "nobody", at: -1 });
    return (await lines()) - before;
  }

  async function pod(handler: string): Promise<Place> {
    const name = `sessions-${++pods}`;
    const logDirectory = join(logs, name);
    await mkdir(logDirectory, { recursive: true });
    const config = sandboxConfig(name, { logDirectory });
    const asked = { config, runtimeHandler: handler };
    const { podSandboxId } = await faulty.call<{ podSandboxId: string }>("RunPodSandbox", asked);
    const container = containerConfig("c", { command: ["sh", "-c", COMMAND], logPath: "c.log" });
    const request = { podSandboxId, sandboxConfig: config, config: container };
    const { containerId } = await faulty.call<{ containerId: string }>("CreateContainer", request);
    await faulty.call("StartContainer", { containerId });
    const log = join(logDirectory, "c.log");
    await until("it is up", async () => (await readFile(log, "utf8").catch(() => "")).includes("up"));
    return { podSandboxId, containerId, log };
  }

  async function remove({ podSandboxId, containerId }: Place): Promise<void> {
    await repeated(() => faulty.call("StopContainer", { containerId, timeout: "10" }));
    const { exitCode } = await told({ podSandboxId, containerId, log: "" });
    assert.ok(exitCode === 42 || exitCode === 255, `exit code ${exitCode}`);
    await repeated(() => faulty.call("StopPodSandbox", { podSandboxId }));
    await repeated(() => faulty.call("RemovePodSandbox", { podSandboxId }));
  }

  async function told({ containerId }: Place): Promise<{ state: string; exitCode: number; reason: string }> {
    type Answer = { status: { state: string; exitCode: number; reason: string } };
    return (await repeated(() => faulty.call<Answer>("ContainerStatus", { containerId }))).status;
  }

  /** As a kubelet does: a killed launcher may be away for the moment. */
  async function repeated<T>(work: () => Promise<T>): Promise<T> {
    for (let tries = 0; ; tries++) {
      try {
        return await work();
      } catch (error) {
        if (tries === 20 || error instanceof assert.AssertionError) throw error;
        await faulty.revive();
      }
    }
  }
});

async function within(work: Promise<void>): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new assert.AssertionError({ message: "it hangs" })), HANGS_MS);
  try {
    await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}

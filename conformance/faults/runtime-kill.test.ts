import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { containerConfig, sandboxConfig } from "../harness/cri-configs.ts";
import { TestNode } from "../harness/test-node.ts";
import { KilledRuntime, MOMENTS, type Moment, VERBS, type Verb } from "./killed-runtime.ts";

/** With both runtimes all of them, instead of every second one with each. */
const EVERY = process.env["NACELLE_KILLS_EVERY"] === "1";
const CASES = VERBS.flatMap((verb) =>
  MOMENTS.filter((moment) => moment !== "pidFile" || verb === "create" || verb === "exec").map((moment) => ({
    verb,
    moment,
  })),
);
const TRIES = 3;
const READY = "ready for the end";
/** Ends with 42 when it is asked to. */
const COMMAND = ["sh", "-c", `trap 'exit 42' TERM; echo ${READY} >/ready; while :; do sleep 0.05; done`];

interface Told {
  readonly state: string;
  readonly exitCode: number;
  readonly reason: string;
}

for (const handler of ["crun", "runc"] as const) {
  describe(`a pod's life with ${handler} killed in each of its commands`, () => {
    const owned = new AsyncDisposableStack();
    let node: TestNode;
    let runtime: KilledRuntime;

    before(async () => {
      runtime = owned.use(await KilledRuntime.make(handler === "crun" ? "/usr/bin/crun" : "/usr/sbin/runc"));
      node = owned.use(await TestNode.start({ settings: { [`runtimes.${handler}.path`]: runtime.path } }));
      await live("warm", () => Promise.resolve());
    });
    after(() => owned.disposeAsync());

    for (const { verb, moment } of CASES.filter((_, i) => EVERY || i % 2 === (handler === "crun" ? 0 : 1))) {
      it(`${verb}, ${moment}: nothing hangs, no status is wrong, nothing is left`, async () => {
        await live(`${verb}-${moment}`, (next) => order(verb, moment, next));
        assert.ok(await runtime.isDone(verb), "it was killed");
        await node.assertClean(15_000);
      });
    }

    it("leaves no row", () => node.assertCleanEnd());

    async function order(verb: Verb, moment: Moment, next: Verb): Promise<void> {
      if (verb === next) await runtime.order(verb, moment);
    }

    /** As a kubelet drives it; `expect` is called before each command of the runtime. */
    async function live(name: string, expect: (next: Verb) => Promise<void>): Promise<void> {
      const config = sandboxConfig(name);
      const { podSandboxId } = await node.cri.call("RunPodSandbox", { config, runtimeHandler: handler });
      const containerId = await runningContainer(String(podSandboxId), config, expect);
      await sh(containerId, "until [ -e /ready ]; do sleep 0.01; done", 0);
      await expect("exec");
      await sh(containerId, "exit 3", 3);
      await repeat("StopContainer", { containerId, timeout: "10" });
      const ended = await told(containerId);
      assert.deepEqual([ended.state, ended.exitCode, ended.reason], ["CONTAINER_EXITED", 42, "Error"]);
      await expect("delete");
      await repeat("RemoveContainer", { containerId });
      await repeat("StopPodSandbox", { podSandboxId });
      await repeat("RemovePodSandbox", { podSandboxId });
    }

    /** One whose start has failed is over, never with success, and the next one takes its place. */
    async function runningContainer(
      podSandboxId: string,
      sandbox: object,
      expect: (next: Verb) => Promise<void>,
    ): Promise<string> {
      for (let attempt = 0; attempt < TRIES; attempt++) {
        if (attempt === 0) await expect("create");
        const config = containerConfig("c", { attempt, command: COMMAND });
        const request = { podSandboxId, config, sandboxConfig: sandbox };
        const { containerId } = (await repeat("CreateContainer", request)) as { containerId: string };
        if (attempt === 0) await expect("start");
        const failure = await node.cri.call("StartContainer", { containerId }).then(
          () => undefined,
          (error: Error) => error,
        );
        const { state, exitCode } = await told(containerId);
        if (state === "CONTAINER_RUNNING") return containerId;
        assert.ok(failure, `${state} after a start that succeeded`);
        assert.equal(state, "CONTAINER_EXITED", failure.message);
        assert.notEqual(exitCode, 0, failure.message);
        await repeat("RemoveContainer", { containerId });
      }
      throw new Error("no container of three could be started");
    }

    async function sh(containerId: string, script: string, expected: number): Promise<void> {
      const request = { containerId, cmd: ["sh", "-c", script], timeout: "20" };
      const { exitCode } = (await repeat("ExecSync", request)) as { exitCode: number };
      assert.equal(exitCode, expected, script);
    }

    async function told(containerId: string): Promise<Told> {
      const { status } = (await node.cri.call("ContainerStatus", { containerId })) as { status: Told };
      return status;
    }

    /** The runtime is killed once: the second or third call must do. */
    async function repeat(method: string, request: object): Promise<unknown> {
      let last: unknown;
      for (let tries = 0; tries < TRIES; tries++) {
        try {
          return await node.cri.call(method, { ...request });
        } catch (error) {
          last = error;
        }
      }
      throw last;
    }
  });
}

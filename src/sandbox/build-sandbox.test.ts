import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Operation } from "../launcher/operations.ts";
import { Stage } from "../lib/stage.ts";
import { type BuildPorts, buildSandbox } from "./build-sandbox.ts";
import { Paths } from "./paths.ts";
import { aSandbox } from "./sandbox.fixture.ts";

const control = () => ({
  signal: new AbortController().signal,
  stage: new Stage("sandbox", "test"),
  isAwaited: () => true,
});

/** Ports that write down what is called; `perform` waits for `gate` where an operation makes the network namespace. */
function setup(gate: Promise<void>, attach: () => Promise<readonly string[]> = async () => ["10.0.0.2"]) {
  const calls: string[] = [];
  const perform = async (operations: readonly Operation[], { what }: { readonly what: string }) => {
    if (operations.some((one) => one.op === "namespaces" && one.net !== undefined)) await gate;
    calls.push(what);
    return [];
  };
  const ports: BuildPorts = {
    operations: { perform, run: () => assert.fail("nothing is executed here") },
    network: {
      attach: async () => {
        calls.push("attach");
        return attach();
      },
    },
    monitors: { start: async () => void calls.push("monitor") },
    cgroups: { ensureParent: () => [], parentOf: () => "/nacelle" },
    pause: { isNeeded: () => true, start: async () => void calls.push("pause") },
    paths: new Paths({ root: "/root", runDir: "/run", netnsDir: "/netns" }),
    hostResolvConf: () => Buffer.alloc(0),
    hostname: "node",
    sysctls: () => [],
  };
  return { ports, calls };
}

describe("buildSandbox", () => {
  it("starts neither pause nor the plugins before the network namespace is pinned, and all else meanwhile", async () => {
    const gate = Promise.withResolvers<void>();
    const { ports, calls } = setup(gate.promise);
    const built = buildSandbox(ports, aSandbox(), control());
    await new Promise(setImmediate);
    assert.deepEqual(calls.toSorted(byText), ["making the cgroup parent", "monitor", "writing the sandbox's files"]);
    gate.resolve();
    assert.deepEqual(await built, ["10.0.0.2"]);
    assert.deepEqual(calls.slice(3).toSorted(byText), ["attach", "making the network namespace", "pause"]);
  });

  it("rejects with the first error, and only when every part has settled", async () => {
    const late = Promise.withResolvers<readonly string[]>();
    const { ports } = setup(Promise.resolve(), () => late.promise);
    const failing: BuildPorts = {
      ...ports,
      pause: { isNeeded: () => true, start: () => Promise.reject(new Error("no pause")) },
    };
    let settled = false;
    const built = buildSandbox(failing, aSandbox(), control()).finally(() => {
      settled = true;
    });
    built.catch(() => {});
    await new Promise(setImmediate);
    assert.equal(settled, false);
    late.reject(new Error("aborted"));
    await assert.rejects(built, /no pause/);
  });
});

function byText(a: string, b: string): number {
  return a < b ? -1 : 1;
}

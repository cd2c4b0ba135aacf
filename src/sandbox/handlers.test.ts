import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createArgs, deleteArgs } from "../oci/handler.ts";
import { Handlers } from "./handlers.ts";
import { aSandbox } from "./sandbox.fixture.ts";

const handler = {
  ...{ name: "crun", path: "/crun", root: "/r", args: [], pauseContainer: "auto", allowedAnnotations: [] },
  ...{ exit: "pid", signal: "pidfd", stats: "cgroup", systemdCgroup: false },
} as const;
// The rest of an entry is not looked at here.
const handlers = new Handlers([{ handler, features: {}, problem: "gone" }] as never, "crun");

describe("a runtime handler", () => {
  it("is told of systemd for sandboxes whose parent is a slice, and for no others", () => {
    const flags = [{ cgroupParent: "a-b.slice" }, { cgroupParent: "/a/b" }, {}].map((parent) => {
      const found = handlers.findOf({ ...aSandbox(), ...parent });
      assert.ok(found);
      const call = { id: "i", log: "/l", bundle: "/b", pidFile: "/p", force: true };
      const calls = [createArgs(found.handler, call), deleteArgs(found.handler, call)];
      return calls.map((argv) => argv.includes("--systemd-cgroup"));
    });
    assert.deepEqual(flags, [
      [true, true],
      [false, false],
      [false, false],
    ]);
  });

  it("that cannot be used is found for freeing alone", () => {
    assert.throws(() => handlers.requireOf(aSandbox()), { kind: "failedPrecondition" });
    assert.equal(handlers.findOf({ ...aSandbox(), runtimeHandler: "other" }), undefined);
  });
});

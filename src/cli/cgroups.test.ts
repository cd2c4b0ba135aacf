import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { CgroupLayout } from "../cgroup/cgroup.ts";
import { aSandbox } from "../sandbox/sandbox.fixture.ts";
import { Cgroups } from "./cgroups.ts";

const layout: CgroupLayout = {
  mode: "v1",
  hierarchies: [{ mountPoint: "/sys/fs/cgroup/memory", controllers: ["memory"], version: 1 }],
};

describe("the cgroups of a sandbox", () => {
  it("are where the configuration was when it was made, whatever it is now", () => {
    const made = new Cgroups(layout, "cgroupfs", "/old");
    const sandbox = { ...aSandbox(), cgroupParent: made.parentOf(aSandbox().config) };
    const later = new Cgroups(layout, "cgroupfs", "/new");
    assert.deepEqual(later.directories(sandbox, "abc"), ["/sys/fs/cgroup/memory/old/abc"]);
    assert.equal(later.specPath(sandbox, "abc"), "/old/abc");
  });

  it("are where the client says, when it does", () => {
    const cgroups = new Cgroups(layout, "cgroupfs", "/nacelle");
    assert.equal(cgroups.parentOf(aSandbox({ cgroupParent: "/kubepods/podX" }).config), "/kubepods/podX");
    assert.equal(cgroups.parentOf(aSandbox().config), "/nacelle");
  });

  it("are refused above a hierarchy's root", () => {
    const cgroups = new Cgroups(layout, "cgroupfs", "/nacelle");
    assert.throws(() => cgroups.check(aSandbox({ cgroupParent: "/a/../.." }).config), { kind: "invalidArgument" });
  });
});

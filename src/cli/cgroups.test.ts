import assert from "node:assert/strict";
import { mkdtempDisposableSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
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

  it("are scopes in the pod's slice with systemd, or in system.slice", () => {
    const cgroups = new Cgroups(layout, "systemd", "/nacelle");
    const cgroupParent = cgroups.parentOf(aSandbox({ cgroupParent: "kubepods-podX.slice" }).config);
    const sandbox = { ...aSandbox(), cgroupParent };
    assert.equal(cgroups.specPath(sandbox, "abc"), "kubepods-podX.slice:nacelle:abc");
    const slice = "/sys/fs/cgroup/memory/kubepods.slice/kubepods-podX.slice";
    assert.equal(cgroups.memoryDirectory(sandbox, "abc"), `${slice}/nacelle-abc.scope`);
    assert.equal(cgroups.parentPath(sandbox), "/kubepods.slice/kubepods-podX.slice");
    assert.deepEqual(cgroups.ensureParent(sandbox), []);
    assert.equal(cgroups.writesBandwidth(sandbox), false);
    assert.equal(cgroups.parentOf(aSandbox().config), "system.slice");
  });

  it("have a scope's limits written after the runtime, and no other's", () => {
    using scratch = mkdtempDisposableSync(join(tmpdir(), "cgroups-"));
    writeFileSync(join(scratch.path, "cgroup.controllers"), "cpu memory\n");
    const v2: CgroupLayout = { mode: "v2", hierarchies: [{ mountPoint: scratch.path, controllers: [], version: 2 }] };
    const cgroups = new Cgroups(v2, "systemd", "/nacelle");
    const after = (cgroupParent: string) =>
      cgroups.after({ ...aSandbox(), cgroupParent }, "abc", { devices: [], cpu: { quota: 5_000, period: 10_000 } });
    assert.deepEqual(after("a.slice"), [
      {
        op: "writeKernelFile",
        path: join(scratch.path, "a.slice/nacelle-abc.scope/cpu.max"),
        data: Buffer.from("5000 10000"),
      },
    ]);
    assert.deepEqual(after("/a"), []);
    const told = (cgroupParent: string) =>
      cgroups.tellCommand({ ...aSandbox(), cgroupParent }, "abc", { devices: [], memory: { limit: 4096 } });
    assert.deepEqual(told("a.slice").slice(1), ["set-property", "--runtime", "nacelle-abc.scope", "MemoryMax=4096"]);
    assert.deepEqual(told("/a"), []);
  });

  it("stay what they were made with when the driver changes", () => {
    const made = { ...aSandbox(), cgroupParent: "/kubepods/podX" };
    const now = new Cgroups(layout, "systemd", "/nacelle");
    assert.equal(now.specPath(made, "abc"), "/kubepods/podX/abc");
    assert.equal(now.writesBandwidth(made), true);
    assert.equal(now.ensureParent(made).length, 1);
    const before = { ...aSandbox(), cgroupParent: "a-b.slice" };
    const back = new Cgroups(layout, "cgroupfs", "/nacelle");
    assert.equal(back.path(before, "abc"), "/a.slice/a-b.slice/nacelle-abc.scope");
  });

  it("of rows that tell no parent are cgroupfs', whatever their parent is called", () => {
    for (const driver of ["cgroupfs", "systemd"] as const) {
      const { cgroupParent: _none, ...row } = aSandbox({ cgroupParent: "/test.slice" });
      assert.equal(new Cgroups(layout, driver, "/nacelle").path(row, "abc"), "/test.slice/abc");
      const { cgroupParent: _neither, ...bare } = aSandbox();
      assert.equal(new Cgroups(layout, driver, "/nacelle").path(bare, "abc"), "/nacelle/abc");
    }
  });

  it("are refused above a hierarchy's root", () => {
    const cgroups = new Cgroups(layout, "cgroupfs", "/nacelle");
    assert.throws(() => cgroups.check(aSandbox({ cgroupParent: "/a/../.." }).config), { kind: "invalidArgument" });
  });
});

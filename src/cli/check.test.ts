import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseCgroups } from "../cgroup/cgroup.ts";
import type { HostFacts } from "../oci/spec/input.ts";
import { checkCgroups } from "./check-cgroups.ts";
import { checkKernel } from "./check-kernel.ts";
import { type CheckLine, checkPage, fail, isFit, ok, warn } from "./check-line.ts";
import { checkSpace } from "./check-storage.ts";

const all = [
  "SYS_ADMIN NET_ADMIN MKNOD SETUID SETGID SETPCAP CHOWN DAC_OVERRIDE FOWNER KILL SYS_CHROOT FSETID SETFCAP",
];
const more = ["NET_RAW NET_BIND_SERVICE AUDIT_WRITE SYS_PTRACE SYS_RESOURCE"];
const names = [...all, ...more].flatMap((text) => text.split(" "));

function kernel(change: Partial<HostFacts> = {}, without: readonly string[] = []): readonly CheckLine[] {
  const held = names.filter((name) => !without.includes(name)).map((name) => `CAP_${name}`);
  const facts: HostFacts = {
    ...{ arch: "x64", cgroupMode: "v2", minOomScoreAdj: -1000, rlimitCeilings: {}, seccomp: true, selinux: false },
    ...{ apparmor: false, hugepageSizes: [], swapAccounting: true, pidsController: true, kernel: [6, 1] },
    capabilities: new Set(held),
    ...change,
  };
  return checkKernel(facts, {
    osrelease: "6.1.0\n",
    maxUserNamespaces: "15000\n",
    inotifyInstances: "8192\n",
  });
}

function levels(lines: readonly CheckLine[]): readonly string[] {
  return lines.filter(({ level }) => level !== "ok").map(({ level, what }) => `${level} ${what}`);
}

const none = { isSystemd: false, hasBus: false };

describe("nacelle check", () => {
  it("prints a line for each thing, remedies below, and a verdict", () => {
    const lines = [ok("a", "fine"), warn("bee", "so so", "do this"), fail("c", "bad", "do that")];
    assert.equal(
      checkPage(lines),
      "ok    a    fine\nwarn  bee  so so\n           → do this\nFAIL  c    bad\n           → do that\n\nthis node is NOT fit: 1 failed, 1 to look at\n",
    );
    assert.ok(!isFit(lines));
    assert.equal(checkPage([ok("a", "fine")]), "ok    a  fine\n\nthis node is fit\n");
  });

  it("finds a kernel that has all it needs fit", () => {
    assert.deepEqual(levels(kernel()), []);
  });

  it("refuses an old kernel, and one without seccomp", () => {
    assert.deepEqual(levels(kernel({ kernel: [5, 4] })), ["FAIL kernel"]);
    assert.deepEqual(levels(kernel({ seccomp: false })), ["FAIL seccomp"]);
  });

  it("tells what follows from a capability that is not held", () => {
    assert.deepEqual(levels(kernel({}, ["NET_ADMIN"])), ["FAIL capabilities"]);
    assert.deepEqual(levels(kernel({}, ["NET_RAW"])), ["warn capabilities"]);
    const [line] = kernel({ minOomScoreAdj: 12 }, ["SYS_RESOURCE"]).filter(({ level }) => level === "warn");
    assert.match(line?.found ?? "", /oom_score_adj is never below 12/);
  });

  it("knows how crun's missing hierarchy is mounted", () => {
    const mountinfo = ["cpu", "memory", "devices", "freezer", "cpuset", "pids"]
      .map((name, index) => `${index} 1 0:${index} / /sys/fs/cgroup/${name} rw - cgroup cgroup rw,${name}`)
      .join("\n");
    const layout = parseCgroups(mountinfo);
    const controllers = new Set(layout.hierarchies.flatMap((one) => one.controllers));
    const texts = { layout, controllers, readOnly: [], driver: "auto", systemd: none } as const;
    const procCgroups = "hugetlb\t0\t1\t1\n";
    const [, line] = checkCgroups({ ...texts, procCgroups, handlers: ["crun"] });
    assert.match(line?.remedy ?? "", /mount -t cgroup -o hugetlb cgroup \/sys\/fs\/cgroup\/hugetlb/);
    assert.deepEqual(levels(checkCgroups({ ...texts, procCgroups, handlers: ["runc"] })), []);
    assert.deepEqual(levels(checkCgroups({ ...texts, procCgroups: "", handlers: [], driver: "systemd" })), [
      "FAIL cgroup driver",
    ]);
  });

  it("says which cgroup driver it would choose, and what that lacks", () => {
    const layout = parseCgroups("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    const controllers = new Set(["cpu", "memory", "cpuset", "pids"]);
    const texts = { layout, controllers, readOnly: [], procCgroups: "", handlers: [], driver: "auto" } as const;
    const [, chosen] = checkCgroups({ ...texts, systemd: { isSystemd: true, hasBus: true } });
    assert.equal(chosen?.found, "systemd: systemd is process 1, and cgroups are v2");
    const mute = { isSystemd: true, hasBus: false };
    const [, lacking] = checkCgroups({ ...texts, driver: "systemd", systemd: mute });
    assert.match(lacking?.remedy ?? "", /install dbus/);
    const [, other] = checkCgroups({ ...texts, systemd: mute });
    assert.match(other?.found ?? "", /^cgroupfs: systemd is process 1, without D-Bus/);
    const [, without] = checkCgroups({ ...texts, systemd: none });
    assert.equal(without?.found, "cgroupfs: process 1 is not systemd");
  });

  it("says that no cgroup hierarchy is mounted", () => {
    const texts = { controllers: new Set<string>(), procCgroups: "", readOnly: [], handlers: [] };
    const lines = checkCgroups({ ...texts, layout: parseCgroups(""), driver: "auto", systemd: none });
    assert.deepEqual(levels(lines), ["FAIL cgroups"]);
  });

  it("weighs bytes and inodes", () => {
    const space = { bytes: 1000, freeBytes: 900, inodes: 0, freeInodes: 0 };
    const judged = [{}, { freeBytes: 99 }, { freeBytes: 9 }, { inodes: 20_000, freeInodes: 9 }];
    const found = judged.map((change) => checkSpace("root", "/x", { ...space, ...change }, 10).level);
    assert.deepEqual(found, ["ok", "warn", "FAIL", "warn"]);
  });
});

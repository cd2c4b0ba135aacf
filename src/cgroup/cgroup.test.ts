import assert from "node:assert/strict";
import { test } from "node:test";
import { DomainError } from "../lib/errors.ts";
import {
  cgroupDirectories,
  cgroupPath,
  cgroupsPath,
  controllerMount,
  defaultParent,
  ensureParent,
  normalPath,
  parentPath,
  parseCgroups,
  parseParent,
  unifiedMount,
} from "./cgroup.ts";

const HYBRID = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
42 31 0:32 / /mnt/again\\040here rw,relatime - cgroup cgroup rw,memory
`;
const UNIFIED = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

test("tells v1, hybrid and v2 apart and finds each controller once", () => {
  const hybrid = parseCgroups(HYBRID);
  assert.equal(hybrid.mode, "hybrid");
  assert.equal(hybrid.hierarchies.length, 4);
  assert.equal(controllerMount(hybrid, "cpuacct"), "/sys/fs/cgroup/cpu,cpuacct");
  assert.equal(controllerMount(hybrid, "hugetlb"), undefined);
  assert.equal(unifiedMount(hybrid), "/sys/fs/cgroup/unified");
  assert.equal(parseCgroups(HYBRID.replaceAll("cgroup2 cgroup2", "tmpfs x")).mode, "v1");
  const v2 = parseCgroups(UNIFIED);
  assert.equal(v2.mode, "v2");
  assert.equal(controllerMount(v2, "memory"), "/sys/fs/cgroup");
  assert.deepEqual(parseCgroups(""), { mode: "v1", hierarchies: [] });
});

test("takes plain absolute parents and refuses those that climb", () => {
  assert.equal(parseParent("/kubepods//pod1/", "cgroupfs"), "/kubepods/pod1");
  assert.equal(parseParent("", "cgroupfs"), defaultParent("cgroupfs"));
  assert.equal(parseParent("kubepods-burstable-pod1.slice", "systemd"), "kubepods-burstable-pod1.slice");
  assert.equal(parseParent("/kubepods.slice/kubepods-pod1.slice", "systemd"), "kubepods-pod1.slice");
  for (const bad of ["/a/../b", "/..", "/", "a/b", "/a\nb", "/a b", `/${"x".repeat(300)}`, "/a\0"]) {
    assert.throws(() => parseParent(bad, "cgroupfs"), DomainError, bad);
  }
  for (const bad of ["/kubepods", "a..slice/..", "-a.slice", "a--b.slice", "a-.slice", "-.slice", ".slice"]) {
    assert.throws(() => parseParent(bad, "systemd"), DomainError, bad);
  }
});

test("takes a slice where systemd keeps it, or its name alone", () => {
  assert.equal(parseParent("", "systemd"), "system.slice");
  assert.equal(parseParent("/test.slice", "systemd"), "test.slice");
  assert.throws(
    () => parseParent("/kubepods-pod1.slice/x.slice", "systemd"),
    /where systemd keeps x\.slice: that is \/x\.slice/,
  );
});

test("says why a slice cannot be had", () => {
  assert.throws(() => parseParent("-.slice", "systemd"), /is the root of all slices.*leave cgroup_parent empty/);
  assert.throws(() => parseParent("/-.slice", "systemd"), /is the root of all slices/);
  assert.throws(() => parseParent("a:b.slice", "systemd"), /"a:b.slice": OCI runtimes take no ":" in a slice/);
});

test("refuses the other driver's parents with the remedy", () => {
  assert.throws(() => parseParent("/kubepods/pod1", "systemd"), /is no slice.*set cgroupDriver to "cgroupfs"/);
  assert.throws(() => parseParent("kubepods-pod1.slice", "cgroupfs"), /is a slice.*set cgroupDriver to systemd/);
  assert.throws(() => parseParent("/kubepods.slice/kubepods-pod1.slice", "cgroupfs"), /is a slice/);
  assert.equal(normalPath("/kubepods//pod1.slice/"), "/kubepods/pod1.slice");
});

test("names a container's cgroup as the driver does", () => {
  assert.equal(cgroupsPath("/kubepods/pod1", "abc"), "/kubepods/pod1/abc");
  assert.equal(cgroupPath("/kubepods/pod1", "abc"), "/kubepods/pod1/abc");
  assert.equal(cgroupsPath("a-b.slice", "abc"), "a-b.slice:nacelle:abc");
  assert.equal(cgroupPath("a-b.slice", "abc"), "/a.slice/a-b.slice/nacelle-abc.scope");
  assert.equal(
    parentPath("kubepods-burstable-pod1_2.slice"),
    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice",
  );
});

test("lists a cgroup's directories in every hierarchy and never a hierarchy's root", () => {
  assert.deepEqual(cgroupDirectories(parseCgroups(HYBRID), "/a/b"), [
    "/sys/fs/cgroup/cpu,cpuacct/a/b",
    "/sys/fs/cgroup/memory/a/b",
    "/sys/fs/cgroup/systemd/a/b",
    "/sys/fs/cgroup/unified/a/b",
  ]);
  for (const bad of ["", "/", "//", "/a/../..", "."]) assert.throws(() => cgroupDirectories(parseCgroups(HYBRID), bad));
});

test("makes a parent in each v1 hierarchy, and from the root down with its controllers on v2", () => {
  const v1 = ensureParent(parseCgroups(HYBRID), "/a/b", []);
  assert.ok(v1.every((one) => one.op === "mkdir" && one.parents === true));
  assert.equal(v1.length, 4);
  const v2 = ensureParent(parseCgroups(UNIFIED), "/a/b", ["cpu", "memory"]);
  assert.deepEqual(
    v2.map((one) => ("path" in one ? `${one.op} ${one.path}` : one.op)),
    [
      "writeKernelFile /sys/fs/cgroup/cgroup.subtree_control",
      "mkdir /sys/fs/cgroup/a",
      "writeKernelFile /sys/fs/cgroup/a/cgroup.subtree_control",
      "mkdir /sys/fs/cgroup/a/b",
      "writeKernelFile /sys/fs/cgroup/a/b/cgroup.subtree_control",
    ],
  );
  const [first] = v2;
  assert.ok(first?.op === "writeKernelFile" && first.data.toString() === "+cpu +memory");
  assert.deepEqual(ensureParent(parseCgroups(UNIFIED), "a.slice", ["cpu"]), []);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Operation } from "../launcher/operations.ts";
import { parseCgroups } from "./cgroup.ts";
import { bandwidthWrites, limitWrites, type ScopeLimits, scopeWrites } from "./limit-writes.ts";

const V1 = parseCgroups(`32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/hugetlb rw,relatime - cgroup cgroup rw,hugetlb
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`);
const V2 = parseCgroups("30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n");
const BARE = parseCgroups("32 31 0:29 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n");
const ONE_CPU = { cpuQuota: 100_000, cpuPeriod: 100_000 };

const lines = (writes: readonly Operation[]) =>
  writes.map((write) => (write.op === "writeKernelFile" ? `${write.path}=${write.data}` : write.op));

test("no value in between is more bandwidth than either the old one or the new one", () => {
  const files = (quota: number, period: number) =>
    lines(bandwidthWrites(V1, "/pod/c", ONE_CPU, { cpuQuota: quota, cpuPeriod: period }));
  const at = "/sys/fs/cgroup/cpu/pod/c/cpu.cfs_";
  assert.deepEqual(files(50_000, 50_000), [`${at}quota_us=50000`, `${at}period_us=50000`]);
  assert.deepEqual(files(200_000, 200_000), [`${at}period_us=200000`, `${at}quota_us=200000`]);
  assert.deepEqual(files(-1, 0), [`${at}quota_us=-1`]);
  assert.deepEqual(files(0, 50_000), [`${at}period_us=50000`]);
  assert.deepEqual(files(0, 0), []);
});

test("bandwidth is one file on v2, which the runtime writes, and nothing without its controller", () => {
  assert.deepEqual(bandwidthWrites(V2, "/pod/c", ONE_CPU, ONE_CPU), []);
  assert.deepEqual(bandwidthWrites(BARE, "/pod/c", ONE_CPU, ONE_CPU), []);
});

const limits = { hugepageLimits: [{ pageSize: "2MB", limit: 4096 }], unified: { "memory.high": "max" } };

test("huge pages and unified files are written where the hierarchy has them", () => {
  assert.deepEqual(lines(limitWrites(V1, "/pod/c", limits)), [
    "/sys/fs/cgroup/hugetlb/pod/c/hugetlb.2MB.limit_in_bytes=4096",
  ]);
  assert.deepEqual(lines(limitWrites(V2, "/pod/c", limits)), [
    "/sys/fs/cgroup/pod/c/hugetlb.2MB.max=4096",
    "/sys/fs/cgroup/pod/c/memory.high=max",
  ]);
  assert.deepEqual(limitWrites(BARE, "/pod/c", limits), []);
});

test("limits that systemd may have undone are written into a scope again, as v2 has them", () => {
  const files = (limits: ScopeLimits) =>
    lines(scopeWrites(V2, "/a.slice/c.scope", limits)).map((line) =>
      line.replace("/sys/fs/cgroup/a.slice/c.scope/", ""),
    );
  const cpu = { quota: 20_000, period: 50_000, cpus: "0-1", mems: "0" };
  assert.deepEqual(files({ memory: { limit: 4096, swap: 6144 }, cpu }), [
    "memory.max=4096",
    "memory.swap.max=2048",
    "cpu.max=20000 50000",
    "cpuset.cpus=0-1",
    "cpuset.mems=0",
  ]);
  assert.deepEqual(files({ memory: { limit: -1, swap: -1 }, cpu: { quota: -1 } }), [
    "memory.max=max",
    "memory.swap.max=max",
    "cpu.max=max",
  ]);
  assert.deepEqual(files({ memory: { limit: 4096, swap: 4096 }, cpu: { period: 1 } }), [
    "memory.max=4096",
    "memory.swap.max=0",
  ]);
  assert.deepEqual(files({}), []);
  assert.deepEqual(scopeWrites(V1, "/a.slice/c.scope", { cpu }), []);
});

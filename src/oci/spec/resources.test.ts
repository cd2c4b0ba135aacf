import assert from "node:assert/strict";
import { test } from "node:test";
import { DomainError } from "../../lib/errors.ts";
import type { Resources } from "../config.ts";
import { NO_RESOURCES } from "../merge-resources.ts";
import type { HostFacts } from "./input.ts";
import { buildResources } from "./resources.ts";
import { sampleHost, sampleSandbox } from "./sample-input.ts";
import { sandboxSysctls, specSysctls, sysctlPath } from "./sysctls.ts";

function build(asked: Partial<Resources>, host: Partial<HostFacts> = {}, pidsLimit = 0) {
  return buildResources({ ...NO_RESOURCES, ...asked }, [], pidsLimit, { ...sampleHost, ...host });
}

test("writes nothing that was not asked for", () => {
  assert.deepEqual(build({}).value, { devices: [] });
  assert.deepEqual(buildResources(undefined, [], -1, sampleHost).value, { devices: [] });
});

test("limits processor, memory and processes", () => {
  const asked = { cpuShares: 1, cpuQuota: 50_000, cpuPeriod: 100_000, cpusetCpus: "0-1,3", memoryLimitBytes: 1 << 24 };
  assert.deepEqual(build(asked, {}, 100).value, {
    devices: [],
    pids: { limit: 100 },
    cpu: { shares: 2, quota: 50_000, period: 100_000, cpus: "0-1,3" },
    memory: { limit: 1 << 24, swap: 1 << 24 },
  });
});

test("keeps swap within what the request and the kernel allow", () => {
  assert.deepEqual(build({ memoryLimitBytes: 100, memorySwapLimitBytes: 150 }).value.memory, { limit: 100, swap: 150 });
  assert.deepEqual(build({ memoryLimitBytes: 100, memorySwapLimitBytes: -1 }).value.memory, { limit: 100, swap: -1 });
  const without = build({ memoryLimitBytes: 100, memorySwapLimitBytes: 150 }, { swapAccounting: false });
  assert.deepEqual(without.value.memory, { limit: 100 });
  assert.match(without.notices.join(), /swap/);
  assert.throws(() => build({ memoryLimitBytes: 100, memorySwapLimitBytes: 50 }), /below the memory limit/);
  assert.throws(() => build({ memorySwapLimitBytes: 50 }), DomainError);
});

test("refuses numbers that the kernel would, naming the field", () => {
  const bad: readonly [Partial<Resources>, RegExp][] = [
    [{ cpuShares: -1 }, /cpu_shares/],
    [{ cpuPeriod: 10 }, /cpu_period/],
    [{ cpuQuota: 5 }, /cpu_quota/],
    [{ memoryLimitBytes: -2 }, /memory_limit/],
    [{ cpusetCpus: "0;1" }, /cpuset_cpus/],
    [{ hugepageLimits: [{ pageSize: "2M", limit: 0 }] }, /hugepage_limits/],
    [{ unified: { "../x": "1" } }, /unified/],
  ];
  for (const [asked, message] of bad) assert.throws(() => build(asked, { cgroupMode: "v2" }), message);
});

test("drops a huge page limit of 0 where nothing counts them and refuses any other", () => {
  const zero = build({ hugepageLimits: [{ pageSize: "2MB", limit: 0 }] });
  assert.equal(zero.value.hugepageLimits, undefined);
  assert.equal(zero.notices.length, 1);
  const limits = [{ pageSize: "2MB", limit: 1 << 22 }];
  assert.throws(() => build({ hugepageLimits: limits }), /no hugetlb controller/);
  assert.deepEqual(build({ hugepageLimits: limits }, { hugepageSizes: ["2MB"] }).value.hugepageLimits, limits);
});

test("passes cgroup v2's own files on v2 alone", () => {
  const unified = { "memory.oom.group": "1", "memory.high": "10" };
  assert.deepEqual(build({ unified }, { cgroupMode: "v2" }).value.unified, unified);
  assert.throws(() => build({ unified }, { cgroupMode: "hybrid" }), /memory.high needs cgroup v2/);
  assert.match(build({ unified: { "memory.oom.group": "1" } }).notices.join(), /memory.oom.group is ignored/);
});

const POLICY = { unprivilegedPortStart: 0, pingGroupRange: "0 2147483647" };
const POD = sampleSandbox.namespaces;

test("reads sysctl names with dots and with slashes", () => {
  assert.equal(sysctlPath("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
  assert.equal(sysctlPath("net/ipv4/conf/eth0.1/forwarding"), "net/ipv4/conf/eth0.1/forwarding");
  assert.equal(sysctlPath("net.ipv4.conf.eth0/1.forwarding"), "net/ipv4/conf/eth0.1/forwarding");
  for (const bad of [
    "",
    "net",
    "net..x",
    "net/../kernel/core_pattern",
    "net.//.kernel.x",
    "/net/x",
    "a b.c",
    "net/./x",
  ]) {
    assert.throws(() => sysctlPath(bad), DomainError, bad);
  }
});

test("gives pods their defaults, and the request the last word", () => {
  const sysctls = {
    "net.ipv4.ip_unprivileged_port_start": "1024",
    "kernel.shm_rmid_forced": "1",
    "fs.mqueue.msg_max": "50",
  };
  assert.deepEqual(sandboxSysctls({ sysctls, namespaces: POD }, POLICY), [
    ["net/ipv4/ping_group_range", "0 2147483647"],
    ["net/ipv4/ip_unprivileged_port_start", "1024"],
    ["kernel/shm_rmid_forced", "1"],
    ["fs/mqueue/msg_max", "50"],
  ]);
  assert.deepEqual(sandboxSysctls({ sysctls: {}, namespaces: { ...POD, network: "node" } }, POLICY), []);
  const ids = { containerId: 0, hostId: 100_000, length: 1000 };
  const own = sandboxSysctls({ sysctls: {}, namespaces: { ...POD, users: { uids: ids, gids: ids } } }, POLICY);
  assert.deepEqual(own.at(-1), ["net/ipv4/ping_group_range", "0 999"]);
});

test("refuses sysctls that would change the node", () => {
  const set = (name: string, namespaces = POD) => sandboxSysctls({ sysctls: { [name]: "1" }, namespaces }, POLICY);
  for (const name of ["kernel.core_pattern", "vm.swappiness", "kernel.shmx", "fs.file-max", "kernel/hostname"]) {
    assert.throws(() => set(name), /whole node/, name);
  }
  assert.throws(() => set("net.ipv4.ip_forward", { ...POD, network: "node" }), /host's network/);
  assert.throws(() => set("kernel.sem", { ...POD, ipc: "node" }), /host's ipc/);
  assert.throws(() => sandboxSysctls({ sysctls: { "kernel.sem": "1\n2" }, namespaces: POD }, POLICY), DomainError);
});

test("leaves to the runtime only the sysctls of namespaces that it makes", () => {
  const all = [
    ["net/ipv4/ip_forward", "1"],
    ["kernel/sem", "1"],
  ] as const;
  assert.deepEqual(specSysctls(all, { network: "new", ipc: "/pin" }), { "net.ipv4.ip_forward": "1" });
  assert.deepEqual(specSysctls(all, { network: "/pin", ipc: "host" }), {});
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { scopeAnnotations, setPropertyArgs } from "./scope.ts";

const MiB = 1 << 20;
const limits = {
  memory: { limit: 64 * MiB, swap: 96 * MiB },
  cpu: { shares: 512, quota: 33_333, period: 100_000, cpus: "0-1", mems: "0" },
  unified: { "memory.high": String(60 * MiB), "memory.low": "max", "memory.oom.group": "1" },
};

test("a scope's limits are annotations, and nothing is said of a cgroup that is no scope", () => {
  const annotations = scopeAnnotations("a.slice:nacelle:c", limits);
  const properties = Object.entries(annotations).map(([name, value]) => [
    name.replace("org.systemd.property.", ""),
    value,
  ]);
  assert.deepEqual(Object.fromEntries(properties), {
    "run.oci.systemd.subgroup": "",
    CollectMode: "'inactive-or-failed'",
    TasksMax: "uint64 18446744073709551615",
    MemoryMax: `uint64 ${64 * MiB}`,
    MemorySwapMax: `uint64 ${32 * MiB}`,
    MemoryLow: "uint64 18446744073709551615",
    MemoryHigh: `uint64 ${60 * MiB}`,
    CPUQuotaPerSecUSec: "uint64 333330",
    CPUQuotaPeriodUSec: "uint64 100000",
  });
  assert.deepEqual(scopeAnnotations("/a/c", limits), {});
  const unlimited = scopeAnnotations("a.slice:nacelle:c", { cpu: { quota: -1 }, memory: { limit: -1, swap: -1 } });
  assert.equal(unlimited["org.systemd.property.MemoryMax"], "uint64 18446744073709551615");
  assert.equal(unlimited["org.systemd.property.CPUQuotaPerSecUSec"], undefined);
});

test("limits of unified files are properties too, and count more than the others", () => {
  const unified = {
    "pids.max": "64",
    "cpu.max": "25000 50000",
    "cpu.weight": "77",
    "cpuset.cpus": "0-1\n",
    "io.max": "",
  };
  const asked = { cpu: { quota: 1_000, period: 100_000 }, pids: { limit: 5 }, unified };
  const annotations = scopeAnnotations("a.slice:nacelle:c", asked);
  const values = ["TasksMax", "CPUWeight", "CPUQuotaPerSecUSec", "CPUQuotaPeriodUSec", "AllowedCPUs"];
  assert.deepEqual(
    values.map((name) => annotations[`org.systemd.property.${name}`]),
    ["uint64 64", "uint64 77", "uint64 500000", "uint64 50000", undefined],
  );
  assert.deepEqual(setPropertyArgs("s", asked).slice(3), [
    ...["TasksMax=64", "CPUWeight=77", "CPUQuota=50%", "CPUQuotaPeriodSec=50000us", "AllowedCPUs=0-1"],
  ]);
  const processes = scopeAnnotations("a.slice:nacelle:c", { pids: { limit: 5 } });
  assert.equal(processes["org.systemd.property.TasksMax"], "uint64 5");
  const none = { unified: { "pids.max": "max", "cpu.max": "max", "cpu.weight": "0" } };
  assert.deepEqual(setPropertyArgs("s", none).slice(3), ["TasksMax=infinity", "CPUQuota="]);
});

test("systemctl is given what an update leaves, and is not asked when there is nothing", () => {
  assert.deepEqual(setPropertyArgs("nacelle-c.scope", limits), [
    ...["set-property", "--runtime", "nacelle-c.scope", `MemoryMax=${64 * MiB}`, `MemorySwapMax=${32 * MiB}`],
    ...["MemoryLow=infinity", `MemoryHigh=${60 * MiB}`, "CPUQuota=33.34%", "CPUQuotaPeriodSec=100000us"],
    ...["AllowedCPUs=0-1", "AllowedMemoryNodes=0"],
  ]);
  assert.deepEqual(setPropertyArgs("s", { cpu: { quota: -1 }, memory: { limit: -1 } }).slice(3), [
    "MemoryMax=infinity",
    "CPUQuota=",
  ]);
  assert.deepEqual(setPropertyArgs("s", { cpu: { shares: 2 } }), []);
});

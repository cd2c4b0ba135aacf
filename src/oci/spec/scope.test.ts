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

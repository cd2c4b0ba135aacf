import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { type HostTexts, hostFacts } from "./host-facts.ts";

const TEXTS: HostTexts = {
  arch: "x64",
  status: "Name:\tx\nCapEff:\t000001fffeffffff\nSeccomp:\t0\n",
  limits: `Limit                     Soft Limit           Hard Limit           Units
Max cpu time              unlimited            unlimited            seconds
Max open files            1024                 20000                files
Max realtime priority     0                    0
`,
  oomScoreAdj: "-5\n",
  osrelease: "6.18.44-x\n",
  filesystems: "nodev\tsysfs\n\text4\n",
  apparmor: "N\n",
  hugepages: ["hugepages-2048kB", "hugepages-1048576kB", "hugepages-64kB", "odd"],
  cgroupMode: "hybrid",
  controllers: new Set(["hugetlb", "pids"]),
  swapAccounting: true,
};

test("reads what this host lets nacelle do", () => {
  const facts = hostFacts(TEXTS);
  assert.equal(facts.capabilities.size, 40);
  assert.equal(facts.minOomScoreAdj, -5);
  assert.deepEqual(facts.rlimitCeilings, { RLIMIT_NOFILE: 20000, RLIMIT_RTPRIO: 0 });
  assert.deepEqual(facts.hugepageSizes, ["2MB", "1GB", "64KB"]);
  assert.deepEqual(facts.kernel, [6, 18]);
  assert.ok(facts.seccomp && facts.pidsController && !facts.selinux && !facts.apparmor);
  assert.equal(hostFacts({ ...TEXTS, filesystems: "nodev\tselinuxfs\n" }).selinux, true);
});

test("knows no ceiling with CAP_SYS_RESOURCE and no huge page without their controller", () => {
  const facts = hostFacts({ ...TEXTS, status: "CapEff:\t000001ffffffffff\n", controllers: new Set() });
  assert.deepEqual([facts.minOomScoreAdj, facts.rlimitCeilings, facts.hugepageSizes], [-1000, {}, []]);
  assert.equal(facts.seccomp, false);
});

test("reads the running kernel, and takes what is absent for absent", () => {
  const read = (name: string) => readFileSync(`/proc/${name}`, "utf8");
  const facts = hostFacts({
    ...TEXTS,
    status: read("self/status"),
    limits: read("self/limits"),
    osrelease: read("sys/kernel/osrelease"),
  });
  assert.ok(facts.capabilities.size > 0 && facts.kernel[0] >= 4);
  const nothing = hostFacts({ ...TEXTS, status: "", limits: "", oomScoreAdj: "", osrelease: "" });
  assert.deepEqual([nothing.capabilities.size, nothing.minOomScoreAdj, nothing.kernel], [0, 0, [0, 0]]);
});

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { NodeState } from "./node-state.ts";
import { bytes, duration, statusKey, statusPage } from "./status-page.ts";

const id = "0123456789abcdef".repeat(4);

const idle: NodeState = {
  ...{ version: "1.2.3", pid: 7, started: "2026-01-01T00:00:00Z", phase: "ready", epoch: 3 },
  ...{ listen: "/run/n.sock", root: "/var/lib/n", runDir: "/run/n" },
  network: { ready: true, reason: "", message: "", skipped: [] },
  handlers: [
    { name: "runc", isDefault: true, path: "/usr/sbin/runc", ociVersion: "1.0.2", problem: "" },
    { name: "kata", isDefault: false, path: "kata", ociVersion: "", problem: "there is no executable kata" },
  ],
  ...{ sandboxes: { ready: 2, notReady: 1 }, containers: {}, monitors: 2, troubles: [] },
  ...{ creations: [], calls: [], pulls: [], debts: [], eventClients: 0, discards: [] },
  launcher: { pid: 8, operations: [], stuck: [] },
  disk: { images: { count: 4, bytes: 3_650_722_202, inodes: 12 }, stateBytes: 4096 },
};

const nowMs = Temporal.Instant.from("2026-01-01T02:03:04Z").epochMilliseconds;

describe("the page of nacelle status", () => {
  it("is short when nothing happens", () => {
    assert.equal(
      statusPage(idle, nowMs),
      `nacelle 1.2.3  ready, pid 7, up 2 h 3 min
serves      /run/n.sock
keeps       /var/lib/n
network     ready
runtimes    runc (default)
            there is no executable kata
sandboxes   2 ready, 1 notReady; 2 monitors
containers  none
disk        4 images 3.4 GiB, 12 inodes; state 4.0 KiB
`,
    );
  });

  it("says what is in flight and on what it waits, what is owed and what is stuck", () => {
    const stage = "CNI plugin bridge ADD";
    const page = statusPage(
      {
        ...idle,
        network: { ready: false, reason: "", message: "no file", skipped: [{ name: "1.conf", reason: "no JSON" }] },
        creations: [{ kind: "sandbox", name: "web/default", stage, seconds: 38, waiters: 1 }],
        calls: [`stop ${id}`],
        pulls: ["busybox:1"],
        troubles: [
          { sandboxId: "s", containerId: id, trouble: "cannot end", seconds: 40 },
          { sandboxId: "s", containerId: "c2", trouble: "log hangs", seconds: 90 },
        ],
        launcher: {
          pid: 8,
          operations: [
            { owner: id, what: "mount of the root file system", seconds: 61, waiting: false },
            { owner: "images", what: "syncing", seconds: 2, waiting: true },
          ],
          stuck: [id],
        },
        debts: [
          { sandboxId: id, networkName: "net", sinceMs: nowMs - 90_000, attempts: 1, lastError: "no", paying: true },
        ],
        discards: [{ key: "container x", attempts: 2, lastError: "EBUSY" }],
      },
      nowMs,
    );
    for (const line of [
      "network     NOT READY: no file",
      "            skipped 1.conf: no JSON",
      "containers in trouble:",
      "  0123456789abc: was killed 40 s ago and cannot end: a process of it waits in the kernel",
      "  c2: the disk of its log has not answered for 1 min 30 s",
      "in flight:",
      "  creating sandbox web/default: CNI plugin bridge ADD for 38 s (1 waiting)",
      `  stop ${id}`,
      "  pulling busybox:1",
      "  mount of the root file system for 0123456789abc: runs for 1 min 1 s",
      "  syncing for images: waits for its turn for 2 s",
      "stuck in the kernel since an earlier server:",
      "  0123456789abc in net: owed for 1 min 30 s, 1 attempt, being paid: no",
      "still to be freed:",
      "  container x: failed 2 times: EBUSY",
    ]) {
      assert.ok(page.split("\n").includes(line), `${line}\nis not in\n${page}`);
    }
  });

  it("shows a server that is not ready yet", () => {
    const { version, pid, started, listen, root, runDir } = idle;
    const page = statusPage({ version, pid, started, listen, root, runDir, phase: "starting" }, nowMs);
    assert.match(page, /^nacelle 1\.2\.3 {2}starting, pid 7/);
  });

  it("reads the same while only time passes", () => {
    const creation = { kind: "sandbox", name: "a", stage: "b", waiters: 0 } as const;
    const at = (seconds: number) => statusKey({ ...idle, creations: [{ ...creation, seconds }] });
    assert.equal(at(1), at(2));
    assert.notEqual(at(1), statusKey(idle));
  });
});

it("durations and sizes are written for people", () => {
  assert.deepEqual([0, 59, 60, 200, 7500, 93_600].map(duration), [
    "0 s",
    "59 s",
    "1 min",
    "3 min 20 s",
    "2 h 5 min",
    "1 d 2 h",
  ]);
  assert.deepEqual([0, 1023, 1024, 1_500_000, 2 ** 40].map(bytes), ["0 B", "1023 B", "1.0 KiB", "1.4 MiB", "1.0 TiB"]);
});

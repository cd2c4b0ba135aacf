import assert from "node:assert/strict";
import { describe, it, mock } from "node:test";
import { Retries } from "../lib/retries.ts";
import type { Monitor } from "../monitor/monitor.ts";
import { lost, MonitorError } from "../monitor/monitor-error.ts";
import type { MonitoredContainer } from "../monitor/monitored-container.ts";
import { Handlers } from "../sandbox/handlers.ts";
import type { PodEventType } from "../sandbox/pod-events.ts";
import { aSandbox } from "../sandbox/sandbox.fixture.ts";
import { open, scratch } from "../state/store.fixture.ts";
import { aContainer, epoch } from "./container.fixture.ts";
import { ContainerService, type ContainerServicePorts } from "./container-service.ts";
import { ContainerStore } from "./container-store.ts";

const created = {
  ...aContainer({ phase: "created", pid: 7, startTime: "70", collected: true }),
  logPath: "/var/log/pods/0.log",
};
const never = new AbortController().signal;

/** A service with one created container; `monitor` stands in for its sandbox's. */
function setup(root: string, monitor: Partial<Pick<Monitor, "start" | "signal" | "reopenLog">>) {
  const store = open(root);
  const containers = new ContainerStore(store);
  store.commit(containers.inserted(created));
  const monitors = new Map<string, unknown>([[created.sandboxId, monitor]]);
  const killed: number[] = [];
  const told: PodEventType[] = [];
  const handler = { name: "crun", path: "/crun", root: "/r", args: [] };
  const service = new ContainerService({
    store,
    containers,
    handlers: new Handlers([{ handler, features: {}, problem: "" }] as never, "crun"),
    monitors: {
      find: (id: string) => monitors.get(id),
      require: (id: string) => monitors.get(id),
      kill: async ({ pid }: { readonly pid: number }) => void killed.push(pid),
    },
    sandboxes: { get: () => aSandbox(), byId: () => aSandbox() },
    discards: new Retries(() => {}),
    events: { emit: (type: PodEventType) => void told.push(type) },
    execs: { maxConcurrent: 1, maxOutputBytes: 1024 },
    cgroupDirs: () => [],
    thaw: () => [],
    now: () => epoch,
    log: () => {},
  } as unknown as ContainerServicePorts);
  return { store, service, monitors, killed, told };
}

describe("ContainerService", () => {
  it("says of a log that cannot be reopened what kept its monitor from that", async () => {
    using folder = scratch();
    const reopenLog = mock.fn<Monitor["reopenLog"]>();
    const { store, service } = setup(folder.path, { start: async () => 1n, reopenLog });
    await using _store = store;
    await service.start(created.id, never);
    const refusals = { TIMEOUT: "deadlineExceeded", BUSY: "unavailable", LOST: "unavailable" } as const;
    for (const code of ["TIMEOUT", "BUSY", "LOST"] as const) {
      const what = "the file system of the log does not answer";
      reopenLog.mock.mockImplementation(async () => {
        throw new MonitorError("LOG_REOPEN", { code, errno: 0, what, path: created.logPath });
      });
      await assert.rejects(service.reopenLog(created.id, never), {
        kind: refusals[code],
        message: `reopening the log of container ${created.id} failed: ${what}`,
      });
    }
  });

  it("leaves a start whose monitor is lost to what is found out of its end", async () => {
    using folder = scratch();
    const { store, service, monitors } = setup(folder.path, {
      start: () => {
        monitors.clear();
        return Promise.reject(lost("START", "the monitor is gone"));
      },
    });
    await using _store = store;
    await assert.rejects(service.start(created.id, never), /the monitor is gone/);
    assert.equal(service.get(created.id).state.phase, "starting");
  });

  it("reports a failed start with its reason, and kills the process when the monitor cannot be told to", async () => {
    using folder = scratch();
    const { store, service, killed } = setup(folder.path, {
      start: () => Promise.reject(new Error("no such command")),
      signal: () => Promise.reject(lost("SIGNAL", "no answer in time")),
    });
    await using _store = store;
    await assert.rejects(service.start(created.id, never), /no such command/);
    const { state } = service.get(created.id);
    assert.deepEqual([state.phase === "exited" && [state.exitCode, state.reason], killed], [[128, "StartError"], [7]]);
  });

  it("forgets a state that comes too late for a container that is gone: the store stays writable", async () => {
    using folder = scratch();
    const { store, service } = setup(folder.path, { start: async () => 0n });
    await using _store = store;
    service.settle({ ...created, id: "d".repeat(64) });
    await store.durable();
  });
});

describe("the events of a container", () => {
  const exit = {
    id: created.id,
    startedNs: 5n,
    exitedNs: 9n,
    siCode: 1,
    siStatus: 0,
    oomKills: 0n,
  } as MonitoredContainer;

  it("are told once each and in order, also when its end comes while its start is being stored", async () => {
    using folder = scratch();
    const { promise: synced, resolve: sync } = Promise.withResolvers<void>();
    const { promise: storing, resolve: reached } = Promise.withResolvers<void>();
    const start = async () => {
      const durable = store.durable.bind(store);
      store.durable = () => {
        reached();
        return synced.then(durable);
      };
      return 5n;
    };
    const { store, service, told } = setup(folder.path, { start });
    await using _store = store;
    const starting = service.start(created.id, never);
    await storing;
    assert.deepEqual([service.get(created.id).state.phase, told], ["running", []]);
    service.ended(created.id, exit);
    assert.deepEqual(told, ["started", "stopped"]);
    sync();
    await starting;
    assert.deepEqual(told, ["started", "stopped"]);
  });

  it("say that it has run when it ends before its start was answered", async () => {
    using folder = scratch();
    const { store, service, told } = setup(folder.path, {
      start: async () => {
        service.ended(created.id, exit);
        return 5n;
      },
    });
    await using _store = store;
    await service.start(created.id, never);
    assert.deepEqual(told, ["started", "stopped"]);
    const { state } = service.get(created.id);
    assert.equal(state.phase === "exited" && state.startedAt?.epochNanoseconds, 5n);
  });
});

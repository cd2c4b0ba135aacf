import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Operation } from "../launcher/operations.ts";
import { Retries } from "../lib/retries.ts";
import { open, scratch } from "../state/store.fixture.ts";
import { Handlers } from "./handlers.ts";
import { Paths } from "./paths.ts";
import { aSandboxConfig } from "./sandbox.fixture.ts";
import { SandboxService, type SandboxServicePorts } from "./sandbox-service.ts";
import { SandboxStore } from "./sandbox-store.ts";

const hostNetwork = aSandboxConfig({ namespaces: { network: "node", pid: "container", ipc: "pod", targetId: "" } });
const never = new AbortController().signal;

const nobody = (): never => {
  throw new Error("nobody dials here");
};

/** A service over a real store, whose launcher does what `perform` says and which owns nothing else. */
function setup(root: string, ports: Partial<SandboxServicePorts> & { perform?: () => Promise<void> } = {}) {
  const store = open(root);
  const sandboxes = new SandboxStore(store);
  const performed: string[] = [];
  const operations: SandboxServicePorts["operations"] = {
    run: () => Promise.reject(new Error("nothing is run here")),
    perform: async (asked: readonly Operation[], { what }) => {
      performed.push(what);
      await ports.perform?.();
      return asked.map(() => Buffer.alloc(0));
    },
  };
  const handler = { name: "crun", path: "/crun", root: "/r", args: [], systemdCgroup: false, pauseContainer: "auto" };
  const handlers = new Handlers([{ handler, features: {}, problem: "" }] as never, "crun");
  const service = new SandboxService({
    store,
    sandboxes,
    operations,
    handlers,
    discards: new Retries(() => {}),
    events: { emit: () => {} },
    paths: new Paths({ root, runDir: root, netnsDir: root }),
    network: { intent: () => [], detach: async () => true } as never,
    monitors: { start: async () => {}, end: async () => {}, unwatch: () => {}, require: nobody },
    pause: { isNeeded: () => false, stop: async () => {} } as never,
    cgroups: { ensureParent: () => [], parentOf: () => "/nacelle" },
    containers: { abortCreations: async () => {}, killAll: async () => {}, removeAll: async () => {} },
    validate: () => {},
    hostResolvConf: () => Buffer.alloc(0),
    hostname: "host",
    sysctls: () => [],
    now: () => Temporal.Instant.fromEpochMilliseconds(0),
    ...ports,
  });
  return { store, sandboxes, service, performed };
}

describe("SandboxService", () => {
  it("does not call a sandbox ready whose monitor was lost while it was made", async () => {
    using folder = scratch();
    const { promise: go, resolve } = Promise.withResolvers<void>();
    const { store, sandboxes, service } = setup(folder.path, { perform: () => go });
    await using _store = store;
    const running = service.run(hostNetwork, "", never);
    service.lost(sandboxes.list()[0]?.id ?? "", "MonitorLost");
    resolve();
    await assert.rejects(running, /was lost while it was made \(MonitorLost\)/);
    assert.deepEqual(service.list(), []);
  });

  it("frees a failed sandbox only when everything that makes it has settled", async () => {
    using folder = scratch();
    const { promise: go, resolve } = Promise.withResolvers<void>();
    const { promise: freed, resolve: free } = Promise.withResolvers<void>();
    const { promise: asked, resolve: ask } = Promise.withResolvers<void>();
    const start = () => {
      ask();
      return Promise.reject(new Error("no monitor"));
    };
    const { store, service, performed } = setup(folder.path, {
      perform: () => go,
      monitors: { start, end: async () => free(), unwatch: () => {}, require: nobody },
    });
    await using _store = store;
    const failing = assert.rejects(service.run(hostNetwork, "", never), /no monitor/);
    await asked;
    await new Promise(setImmediate);
    assert.deepEqual(performed, ["writing the sandbox's files", "making the cgroup parent"]);
    resolve();
    await failing;
    await freed;
    assert.deepEqual(performed, [
      "writing the sandbox's files",
      "making the cgroup parent",
      "freeing the network namespace",
      "freeing the sandbox's files",
    ]);
  });

  it("gives the name of a failed sandbox back on a full disk, too", async () => {
    using folder = scratch();
    const { promise: freed, resolve: free } = Promise.withResolvers<void>();
    let broken = true;
    const { store, service } = setup(folder.path, {
      perform: async () => {
        if (!broken) return;
        broken = false;
        // As a disk does that is full: what is not essential is refused from now on.
        store.commit = () => {
          throw new Error("disk full");
        };
        throw new Error("cannot be made");
      },
      monitors: { start: async () => {}, end: async () => free(), unwatch: () => {}, require: nobody },
    });
    await using _store = store;
    await assert.rejects(service.run(hostNetwork, "", never), /cannot be made/);
    await freed;
    assert.equal(store.holder("sandbox", "web/default/u1/0"), undefined);
  });
});

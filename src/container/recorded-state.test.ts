import assert from "node:assert/strict";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { type ImageRow, type ImageState, type StoredImage, toImage } from "../image/image.ts";
import type { LayerRow } from "../image/layer-store.ts";
import { recordedState, recordedVersions } from "../lib/recorded.fixture.ts";
import { Turns } from "../lib/turns.ts";
import { aSandboxConfig } from "../sandbox/sandbox.fixture.ts";
import { SandboxNetwork } from "../sandbox/sandbox-network.ts";
import { SandboxStore } from "../sandbox/sandbox-store.ts";
import { open, scratch } from "../state/store.fixture.ts";
import type { Store } from "../state/store.ts";
import { aContainerConfig } from "./container.fixture.ts";
import { isAlive, isListed } from "./container.ts";
import { ContainerStore } from "./container-store.ts";

for (const version of recordedVersions()) {
  describe(`the state of ${version}`, () => {
    it("is opened, written and opened again by today's program", async () => {
      await using state = recorded(version);
      const { epoch } = state.store;
      await state.store.save([state.store.bootRecorded()]);
      await using again = await state.reopened();
      assert.equal(again.epoch, epoch + 1);
    });

    it("has every member that today's program takes for granted", async () => {
      await using state = recorded(version);
      const { sandboxes, containers } = services(state.store);
      assert.ok(sandboxes.list().length > 0 && containers.list().length > 0);
      for (const { config } of sandboxes.list()) assert.deepEqual(missing(aSandboxConfig(), config), []);
      for (const { config } of containers.list()) assert.deepEqual(missing(aContainerConfig({}), config), []);
    });

    it("has sandboxes and containers whose names are taken, by themselves", async () => {
      await using state = recorded(version);
      const { sandboxes, containers } = services(state.store);
      for (const { id, config } of sandboxes.list()) assert.equal(sandboxes.holder(config), id);
      for (const { id, sandboxId, config } of containers.list()) {
        assert.equal(containers.holder(sandboxId, config)?.id, id);
        assert.ok(sandboxes.get(sandboxId));
      }
    });
  });
}

describe("what a daemon of v1 left", () => {
  it("are a sandbox that is ready and one that was stopped", async () => {
    await using state = recorded("v1");
    const { sandboxes } = services(state.store);
    assert.deepEqual(
      sandboxes.list().map((sandbox) => [sandbox.config.metadata.name, sandbox.state, sandbox.ips]),
      [
        ["kept", { phase: "ready" }, ["10.88.0.3"]],
        ["owing", { phase: "notReady", reason: "Stopped", released: true }, ["10.88.0.4"]],
      ],
    );
    const [kept] = sandboxes.list();
    assert.ok(kept?.createdAt instanceof Temporal.Instant);
    assert.deepEqual(kept.config.portMappings, [{ protocol: "tcp", containerPort: 80, hostPort: 8080, hostIp: "" }]);
    assert.deepEqual(kept.config.namespaces, { network: "pod", pid: "pod", ipc: "pod", targetId: "" });
    assert.equal(kept.config.dns?.options[0], "ndots:5");
  });

  it("are containers that run, have ended and were not started", async () => {
    await using state = recorded("v1");
    const { sandboxes, containers } = services(state.store);
    const all = containers.ofSandbox(sandboxes.list()[0]?.id ?? "");
    assert.deepEqual(
      all.map((container) => [container.config.metadata, container.state.phase, isAlive(container)]),
      [
        [{ name: "main", attempt: 0 }, "running", true],
        [{ name: "once", attempt: 2 }, "exited", false],
        [{ name: "waiting", attempt: 0 }, "created", true],
      ],
    );
    assert.ok(all.every(isListed));
    const [main, once] = all;
    assert.ok(main?.state.phase === "running" && main.state.startedAt instanceof Temporal.Instant);
    assert.match(`${main.state.pid} ${main.state.startTime}`, /^\d+ \d+$/);
    assert.ok(once?.state.phase === "exited" && once.state.startedAt !== undefined);
    assert.ok(Temporal.Instant.compare(once.state.startedAt, once.state.finishedAt) < 0);
    assert.deepEqual([once.state.exitCode, once.state.reason, once.state.message], [7, "Error", ""]);
  });

  it("are containers that are what was asked for", async () => {
    await using state = recorded("v1");
    const [main, , waiting] = services(state.store).containers.list();
    assert.ok(main !== undefined && waiting !== undefined);
    assert.deepEqual(main.config.envs[1], { key: "GREETING", value: "grüß = dich" });
    assert.equal(main.config.resources?.memoryLimitBytes, 67_108_864);
    assert.equal(main.config.resources.oomScoreAdj, 500);
    assert.equal(main.stopSignal, "SIGTERM");
    assert.match(main.logPath, /\/logs\/kept\/main\.log$/);
    assert.deepEqual(waiting.config.security.seccomp, { type: "runtimeDefault", localhostRef: "" });
    assert.deepEqual([waiting.config.security.runAsUser, waiting.config.security.supplementalGroups], [1000, [7]]);
    assert.deepEqual(waiting.user, { uid: 1000, gid: 0, supplementalGroups: [0, 7] });
  });

  it("is a network that is attached and one that is owed, with all that its DEL needs", async () => {
    await using state = recorded("v1");
    const { network } = services(state.store);
    const [attached, owed] = network.list();
    assert.ok(attached?.state.phase === "attached" && attached.state.result["ips"] !== undefined);
    assert.deepEqual(network.debts(), [owed]);
    const [debt] = network.debts();
    assert.ok(debt !== undefined);
    assert.match(debt.state.lastError, /bridge DEL .*the pool is drained/);
    assert.ok(debt.state.attempts >= 1 && debt.state.lastAttemptMs >= debt.state.sinceMs);
    assert.ok(debt.state.result?.["ips"] !== undefined);
    assert.match(debt.args, /^IgnoreUnknown=1;K8S_POD_NAMESPACE=conformance;K8S_POD_NAME=owing;/);
    assert.deepEqual([debt.ifName, debt.networkName, debt.cniVersion], ["eth0", "nacelle-test", "1.0.0"]);
    assert.equal(debt.pluginPaths.length, 3);
    assert.equal(JSON.parse(debt.config).plugins.length, 3);
  });

  it("is an image with its layer, that its containers name", async () => {
    await using state = recorded("v1");
    const images = state.store.table<ImageRow, ImageState>("images").list();
    const image: StoredImage | undefined = images[0];
    assert.ok(images.length === 1 && image !== undefined);
    assert.deepEqual(toImage(image).repoTags, ["registry.k8s.io/e2e-test-images/busybox:1.29-2"]);
    assert.deepEqual(image.fixed.config.cmd, ["sh"]);
    assert.ok(
      services(state.store)
        .containers.list()
        .every(({ imageId }) => imageId === image.id),
    );
    const layers = state.store.table<LayerRow, Record<string, never>>("layers");
    for (const digest of image.fixed.layers) {
      const row = layers.get(digest)?.fixed;
      assert.match(row?.diffId ?? "", /^sha256:[0-9a-f]{64}$/);
      assert.ok(row !== undefined && row.directory > 0 && row.allocatedBytes > 0 && row.inodes > 0);
    }
    assert.equal(layers.size, image.fixed.layers.length);
  });
});

/** A copy of what is recorded, open. */
function recorded(version: string): AsyncDisposable & { readonly store: Store; reopened(): Promise<Store> } {
  const folder = scratch();
  copyFileSync(recordedState(version), join(folder.path, "state.db"));
  const store = open(folder.path, { bootId: "recorded" });
  return {
    store,
    async reopened() {
      await store[Symbol.asyncDispose]();
      return open(folder.path, { bootId: "recorded" });
    },
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      folder[Symbol.dispose]();
    },
  };
}

function services(store: Store) {
  const unused = () => assert.fail("nothing may be done here");
  const operations = { run: unused, perform: unused };
  const turns = new Turns({ atOnce: 1, perOwner: 1, waiting: 1, what: "network changes" });
  const ports = { turns, store, operations, network: unused, timeoutMs: 1, onDebt: unused, log: unused };
  return {
    sandboxes: new SandboxStore(store),
    containers: new ContainerStore(store),
    network: new SandboxNetwork(ports),
  };
}

/** Paths of members that `pattern`, written by today's types, has and `value` has not. Items of lists are not compared. */
function missing(pattern: object, value: unknown, path = "config"): string[] {
  if (typeof value !== "object" || value === null) return [path];
  if (Array.isArray(pattern)) return Array.isArray(value) ? [] : [path];
  const members = new Map<string, unknown>(Object.entries(value));
  return Object.entries(pattern).flatMap(([name, expected]: [string, unknown]) => {
    const own = `${path}.${name}`;
    if (expected === undefined) return [];
    if (typeof expected === "object" && expected !== null) return missing(expected, members.get(name), own);
    return typeof members.get(name) === typeof expected ? [] : [own];
  });
}

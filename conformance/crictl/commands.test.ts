import assert from "node:assert/strict";
import { access, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import test, { after, before, describe } from "node:test";
import { changedUntil, written } from "../harness/event.ts";
import { assertNothingLeaked, type Snapshot, snapshot } from "../harness/leaks.ts";
import { skipWithoutTools } from "../harness/tools.ts";
import { busybox, CrictlNode, containerConfig, nginx } from "./pods.ts";

/** What each subcommand of crictl 1.36 says of a node; what streams is in streaming.test.ts. */
describe("crictl's commands", { skip: skipWithoutTools }, () => {
  const owned = new AsyncDisposableStack();
  let node: CrictlNode;
  let clean: Snapshot;
  let container: string;
  let sandbox: string;

  before(async () => {
    node = owned.use(await CrictlNode.start({ defaultRuntime: "crun" }));
    clean = await snapshot(node.server.paths);
    const busy = "while :; do echo line; i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; done";
    ({ sandbox, container } = await node.pod({ command: ["sh", "-c", busy] }));
  });
  after(() => owned.disposeAsync());

  test("stats and statsp show what runs, with a use of processor between two samples", async () => {
    const row = (await node.crictl.run("stats")).split("\n").find((line) => line.startsWith(container.slice(0, 13)));
    const [, , cpu = "", memory = ""] = row?.trim().split(/\s+/) ?? [];
    assert.ok(Number(cpu) > 1, row ?? "no row");
    assert.match(memory, /^[\d.]+(kB|MB)$/);
    assert.match(await node.crictl.run("statsp"), /pod-1/);
    interface Stats {
      stats: { attributes: { id: string }; cpu: { usageCoreNanoSeconds: { value: string } } }[];
    }
    const { stats } = await node.crictl.json<Stats>("stats", container);
    assert.equal(stats[0]?.attributes.id, container);
    assert.ok(Number(stats[0]?.cpu.usageCoreNanoSeconds.value) > 0);
    interface PodStats {
      stats: {
        attributes: { id: string };
        linux: { network: { interfaces: { name: string }[]; defaultInterface: { name: string } } };
      }[];
    }
    const pods = await node.crictl.json<PodStats>("statsp", sandbox);
    assert.equal(pods.stats[0]?.linux.network.defaultInterface.name, "eth0");
  });

  test("metricdescs and metricsp name the same metrics", async () => {
    interface Descriptors {
      descriptors: { name: string; help: string; labelKeys: string[] }[];
    }
    const { descriptors } = JSON.parse(await node.crictl.run("metricdescs")) as Descriptors;
    const known = new Map(descriptors.map(({ name, labelKeys }) => [name, labelKeys.length]));
    assert.ok(known.has("container_cpu_usage_seconds_total"));
    interface Metrics {
      podMetrics: { podSandboxId: string; metrics: Metric[]; containerMetrics: { metrics: Metric[] }[] }[];
    }
    interface Metric {
      name: string;
      labelValues: string[];
    }
    const { podMetrics } = await node.crictl.json<Metrics>("metricsp");
    const pod = podMetrics.find(({ podSandboxId }) => podSandboxId === sandbox) ?? assert.fail("no metrics of the pod");
    const metrics = [...pod.metrics, ...pod.containerMetrics.flatMap((one) => one.metrics)];
    for (const { name, labelValues } of metrics) assert.equal(labelValues.length, known.get(name), name);
    // What is counted by device is not there before a device was used.
    const expected = [...known.keys()].filter((name) => !/_fs_(reads|writes)|_blkio_/.test(name));
    assert.deepEqual(new Set(expected).difference(new Set(metrics.map(({ name }) => name))), new Set());
  });

  test("events tells the life of a pod in its order", async () => {
    await using events = await node.background("events.log", "events", "--output=json");
    // Subscribed without a sign of it: pods are run until one is told of.
    const told = async () => (await readFile(events.logFile, "utf8")).includes("CONTAINER_DELETED_EVENT");
    const pods: string[] = [];
    const signal = AbortSignal.timeout(30_000);
    while (!(await told())) {
      signal.throwIfAborted();
      const one = await node.pod({});
      pods.push(one.sandbox);
      await node.crictl.run("rmp", "-f", one.sandbox);
    }
    const last = pods.at(-1) ?? "";
    await changedUntil(
      events.logFile,
      async () => typesOf(await readFile(events.logFile, "utf8"), last).includes("CONTAINER_DELETED_EVENT"),
      signal,
    );
    const types = typesOf(await readFile(events.logFile, "utf8"), last);
    assert.deepEqual(
      [types[0], types.at(-1), types.length >= 4],
      ["CONTAINER_CREATED_EVENT", "CONTAINER_DELETED_EVENT", true],
      types.join(),
    );
  });

  test("logs follows what is written, and over a reopened file", async () => {
    const script = "i=0; while :; do i=$((i + 1)); echo n=$i; sleep 0.1; done";
    const { container: talker, sandbox: pod } = await node.pod({ command: ["sh", "-c", script] });
    await using logs = await node.background("logs.log", "logs", "-f", talker);
    await logs.until((signal) => written(logs.logFile, "n=5\n", signal), 20_000);
    interface Inspected {
      status: { logPath: string };
    }
    const { status } = await node.crictl.json<Inspected>("inspect", talker);
    await rename(status.logPath, `${status.logPath}.1`);
    await node.crictl.run("logs", "--reopen", "--tail=1", talker);
    await access(status.logPath);
    const before = Math.max(...numbersOf(await readFile(logs.logFile, "utf8")));
    await logs.until((signal) => written(logs.logFile, `n=${before + 5}\n`, signal), 20_000);
    const seen = numbersOf(await readFile(logs.logFile, "utf8"));
    assert.deepEqual(
      seen,
      Array.from({ length: seen.length }, (_, index) => index + 1),
    );
    await node.crictl.run("rmp", "-f", pod);
  });

  test("update changes limits, which inspect shows", async () => {
    await node.crictl.run(
      "update",
      "--cpu-share=512",
      "--cpu-quota=50000",
      "--cpu-period=100000",
      "--memory=50331648",
      container,
    );
    interface Inspected {
      status: { resources: { linux: Record<string, string> } };
    }
    const { linux } = (await node.crictl.json<Inspected>("inspect", container)).status.resources;
    assert.deepEqual(
      [linux["cpuShares"], linux["cpuQuota"], linux["cpuPeriod"], linux["memoryLimitInBytes"]],
      ["512", "50000", "100000", "50331648"],
    );
    await node.crictl.run("update", "--cpuset-cpus=0", container);
    const { stdout } = await node.crictl.attempt(
      "exec",
      "-s",
      container,
      "grep",
      "Cpus_allowed_list",
      "/proc/self/status",
    );
    assert.match(stdout, /:\s+0$/m);
  });

  test("checkpoint writes an archive, or says what is missing", async () => {
    const archive = join(node.server.paths.folder, "checkpoint.tar");
    const { container: frozen, sandbox: pod } = await node.pod({});
    const { code, stderr } = await node.crictl.attempt("checkpoint", `--export=${archive}`, frozen);
    if (code !== 0) assert.match(stderr, /FailedPrecondition.*(criu|has no checkpoint command)/s);
    else await access(archive);
    await node.crictl.run("rmp", "-f", pod);
  });

  test("inspect, inspectp, inspecti and info are JSON with what verbose asks for", async () => {
    for (const [command, id] of [
      ["inspect", container],
      ["inspectp", sandbox],
      ["inspecti", busybox],
    ] as const) {
      const { status, info } = await node.crictl.json<{ status: object; info: object }>(command, id);
      assert.ok(Object.keys(status).length > 3, command);
      assert.ok(Object.keys(info).length > 0, command);
    }
    const info = await node.crictl.json<{
      config: { sandboxImage: string; stateDir: string };
      runtimeHandlers: object[];
    }>("info");
    assert.equal(typeof info.config.stateDir, "string");
    assert.ok(info.runtimeHandlers.length >= 2);
  });

  test("runtime-config, update-runtime-config, pods, ps and images agree with each other", async () => {
    assert.match(await node.crictl.run("runtime-config"), /cgroup driver:\s+CGROUPFS/);
    await node.crictl.run("update-runtime-config", "--pod-cidr=10.99.0.0/16");
    assert.match(await node.crictl.run("pods", "--state=ready"), /pod-1/);
    assert.match(await node.crictl.run("ps", "--image", busybox), new RegExp(container.slice(0, 13)));
    assert.match(await node.crictl.run("images"), /busybox\s+1\.29-2/);
    const usage = await node.crictl.json<{ status: { containerFilesystems: { inodesUsed: { value: string } }[] } }>(
      "imagefsinfo",
    );
    assert.equal(usage.status.containerFilesystems.length, 1);
  });

  test("run makes pod and container at once, stop and stopp end them, rm and rmp remove them", async () => {
    const files = [await node.crictl.file(containerConfig("once")), await node.sandboxFile()];
    const id = await node.crictl.run("run", ...files);
    const { status } = await node.crictl.json<{ status: { state: string } }>("inspect", id);
    assert.equal(status.state, "CONTAINER_RUNNING");
    const { containers } = await node.crictl.json<{ containers: { podSandboxId: string }[] }>("ps", "--id", id);
    const pod = containers[0]?.podSandboxId ?? "";
    await node.crictl.run("stop", id);
    await node.crictl.run("stopp", pod);
    await node.crictl.run("rm", id);
    assert.notEqual((await node.crictl.attempt("rm", id)).code, 0);
    await node.crictl.run("rmp", pod);
  });

  test("rmi --prune leaves what is in use, and rmp -fa everything else than nothing", async () => {
    await node.crictl.run("pull", nginx);
    await node.crictl.run("rmi", "--prune");
    const { images } = await node.crictl.json<{ images: { repoTags: string[] }[] }>("images");
    assert.deepEqual(
      images.map(({ repoTags }) => repoTags),
      [[busybox]],
    );
    await node.crictl.run("rmp", "-fa");
    assert.deepEqual((await node.crictl.json<{ items: object[] }>("pods")).items, []);
    assert.deepEqual((await node.crictl.json<{ containers: object[] }>("ps", "-a")).containers, []);
    await assertNothingLeaked(clean, node.server.paths);
    await node.crictl.run("rmi", "--all");
    assert.deepEqual((await node.crictl.json<{ images: object[] }>("images")).images, []);
  });
});

interface Event {
  readonly containerEventType: string;
  readonly podSandboxStatus: { readonly id: string } | null;
}

/** crictl prints one indented object after the other. */
function typesOf(text: string, sandboxId: string): string[] {
  return text
    .split(/^(?=\{)/m)
    .filter((part) => /^\}/m.test(part))
    .map((part) => JSON.parse(part) as Event)
    .filter(({ podSandboxStatus }) => podSandboxStatus?.id === sandboxId)
    .map(({ containerEventType }) => containerEventType);
}

function numbersOf(text: string): number[] {
  return [...text.matchAll(/^n=(\d+)$/gm)].map(([, digits]) => Number(digits));
}

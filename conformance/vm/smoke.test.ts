import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { get } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import test, { before, describe } from "node:test";
import { cgroupDriver, cgroupParent } from "../harness/cgroup-driver.ts";
import { busybox } from "../harness/cri-configs.ts";
import { assertNoStateRows, assertNothingLeaked, type Snapshot, snapshot } from "../harness/leaks.ts";
import { skipWithoutTools } from "../harness/tools.ts";
import { until } from "../harness/until.ts";
import { processes } from "../recovery/processes.ts";
import { Installed, run } from "./installed.ts";

const patienceMs = 120_000;

interface Pod {
  readonly sandbox: string;
  readonly container: string;
}

describe(`a node of systemd and cgroup v2, with the ${cgroupDriver} driver`, { skip: skipWithoutTools }, () => {
  let node: Installed;
  let clean: Snapshot;
  let pod: Pod;

  before(async () => {
    node = await Installed.install(cgroupDriver);
  });

  /** Runs a pod of one container. */
  async function start(name: string, handler: string, container: object): Promise<Pod> {
    const logs = join(node.paths.folder, "logs", name);
    await mkdir(logs, { recursive: true });
    const sandboxFile = await node.crictl.file({
      metadata: { name, namespace: "smoke", uid: `uid-${name}`, attempt: 0 },
      hostname: name,
      log_directory: logs,
      linux: { cgroup_parent: cgroupParent("nacelle-smoke") },
    });
    const sandbox = await node.crictl.run("runp", "--runtime", handler, sandboxFile);
    const config = { metadata: { name, attempt: 0 }, image: { image: busybox }, log_path: "log", ...container };
    const id = await node.crictl.run("create", "--no-pull", sandbox, await node.crictl.file(config), sandboxFile);
    await node.crictl.run("start", id);
    return { sandbox, container: id };
  }

  interface Inspected {
    readonly status: { readonly state: string; readonly exitCode: number; readonly reason: string };
    readonly info: { readonly pid: number };
  }

  const inspect = (id: string) => node.crictl.json<Inspected>("inspect", id);

  test("is fit, and systemd starts nacelle", async () => {
    assert.match(await node.check(), /^this node is fit/m);
    await node.systemctl("start");
    assert.equal(await node.property("ActiveState"), "active");
    await node.importBusybox();
    clean = await snapshot(node.paths);
  });

  test("a pod runs where its limits hold, answers on its network and writes its log", async () => {
    const serve = "echo it starts; httpd -p 80 -h /www; trap 'exit 3' TERM; while :; do sleep 1000 & wait; done";
    const resources = { memory_limit_in_bytes: 67_108_864, cpu_period: 100_000, cpu_quota: 50_000 };
    pod = await start("main", "runc", { command: ["sh", "-c", serve], linux: { resources } });
    const { status, info } = await inspect(pod.container);
    assert.equal(status.state, "CONTAINER_RUNNING");
    const cgroup = (await readFile(`/proc/${info.pid}/cgroup`, "utf8")).trim().replace(/^0::/, "");
    assert.match(cgroup, cgroupDriver === "systemd" ? /\.slice\/.*\.scope/ : /^\/nacelle-smoke\//);
    assert.equal((await readFile(`/sys/fs/cgroup${cgroup}/memory.max`, "utf8")).trim(), "67108864");
    assert.equal((await readFile(`/sys/fs/cgroup${cgroup}/cpu.max`, "utf8")).trim(), "50000 100000");
    const { status: sandbox } = await node.crictl.json<{ status: { network: { ip: string } } }>(
      "inspectp",
      pod.sandbox,
    );
    assert.match(await page(sandbox.network.ip), /it works/);
    assert.equal(await node.crictl.run("logs", pod.container), "it starts");
  });

  test("a command in it runs, and one that takes too long ends with all that it has started", async () => {
    assert.equal(await node.crictl.run("exec", pod.container, "sh", "-c", "echo $((6 * 7))"), "42");
    const late = "setsid sleep 4242 & sleep 4343";
    const { code, stderr } = await node.crictl.attempt(
      "exec",
      "--sync",
      "--timeout=5",
      pod.container,
      "sh",
      "-c",
      late,
    );
    assert.notEqual(code, 0);
    assert.match(stderr, /DeadlineExceeded|timed? ?out/i);
    assert.deepEqual(await sleepers(), []);
    assert.equal((await inspect(pod.container)).status.state, "CONTAINER_RUNNING");
  });

  test("what it uses is told", async () => {
    interface Stats {
      readonly stats: readonly [
        {
          readonly cpu: { readonly usageCoreNanoSeconds: Value };
          readonly memory: { readonly workingSetBytes: Value };
        },
      ];
    }
    interface Value {
      readonly value: string;
    }
    const { stats } = await node.crictl.json<Stats>("stats", pod.container);
    assert.ok(Number(stats[0].cpu.usageCoreNanoSeconds.value) > 0, JSON.stringify(stats));
    assert.ok(Number(stats[0].memory.workingSetBytes.value) > 0, JSON.stringify(stats));
  });

  test("a container of crun that uses more memory than it may is OOMKilled", async () => {
    const hog = { command: ["dd", "if=/dev/zero", "of=/dev/null", "bs=128M", "count=1"] };
    const resources = { memory_limit_in_bytes: 33_554_432, memory_swap_limit_in_bytes: 33_554_432 };
    const { sandbox, container } = await start("hog", "crun", { ...hog, linux: { resources } });
    // As a kubelet looks on; each look takes a second here.
    let { status } = await inspect(container);
    await until("the hog ends", async () => {
      if (status.state !== "CONTAINER_EXITED") ({ status } = await inspect(container));
      return status.state === "CONTAINER_EXITED";
    });
    assert.deepEqual([status.exitCode, status.reason], [137, "OOMKilled"]);
    await node.crictl.run("stopp", sandbox);
    await node.crictl.run("rmp", sandbox);
  });

  for (const [how, again] of [
    ["is restarted", () => node.systemctl("restart")],
    ["is killed, and systemd starts it again", () => node.kill()],
  ] as const) {
    test(`a pod lives on when the server ${how}`, async () => {
      const monitors = await processes("nacelle-monitor");
      assert.equal(monitors.length, 1);
      const { info } = await inspect(pod.container);
      const server = await node.property("MainPID");
      await again();
      assert.notEqual(await node.property("MainPID"), server);
      const after = await inspect(pod.container);
      assert.deepEqual([after.status.state, after.info.pid], ["CONTAINER_RUNNING", info.pid]);
      assert.deepEqual(await processes("nacelle-monitor"), monitors);
      assert.equal(await node.crictl.run("exec", pod.container, "cat", "/etc/hostname"), "main");
    });
  }

  test("it stops with its own exit code, and nothing of it is left when it is removed", async () => {
    await node.crictl.run("stop", "--timeout=60", pod.container);
    const { status } = await inspect(pod.container);
    assert.deepEqual([status.state, status.exitCode], ["CONTAINER_EXITED", 3]);
    await node.crictl.run("stopp", pod.sandbox);
    await node.crictl.run("rmp", pod.sandbox);
    await assertNothingLeaked(clean, node.paths, patienceMs);
    await node.systemctl("stop");
    assert.equal(await node.property("Result"), "success");
    await assertNoStateRows(node.paths);
  });
});

/** What the pod's own server says to the machine. */
async function page(address: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  get({ host: address, timeout: patienceMs }, (response) => text(response).then(resolve, reject)).on("error", reject);
  return await promise;
}

/** Processes of the command that took too long. */
async function sleepers(): Promise<readonly string[]> {
  const all = await run("ps", "-eo", "args=");
  return all.split("\n").filter((line) => /^sleep 4[23]4[23]/.test(line));
}

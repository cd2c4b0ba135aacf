import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import test, { after, before, describe } from "node:test";
import { promisify } from "node:util";
import { type ServiceError, status } from "@grpc/grpc-js";
import { sandboxConfig } from "../harness/cri-configs.ts";
import { AttackNode } from "./attack-node.ts";

describe("a request", () => {
  const owned = new AsyncDisposableStack();
  let node: AttackNode;

  before(async () => {
    node = owned.use(await AttackNode.start());
  });
  after(() => owned.disposeAsync());

  /** A sandbox's configuration with these fields instead. */
  async function refused(change: object): Promise<string> {
    const config = { ...sandboxConfig("refused"), ...change };
    const error: ServiceError = await node.cri.call("RunPodSandbox", { config }).then(
      () => assert.fail("it was accepted"),
      (reason: ServiceError) => reason,
    );
    assert.equal(error.code, status.INVALID_ARGUMENT, error.message);
    return error.details;
  }

  test("cannot smuggle a second sysctl into the first (as CVE-2022-0811)", async () => {
    const pattern = await readFile("/proc/sys/kernel/core_pattern", "utf8");
    // What the node has now: an attack that works changes nothing of the machine that tests.
    const smuggled = `kernel.core_pattern=${pattern.trim()}`;
    const asKey = { [`kernel.shm_rmid_forced+${smuggled}`]: "1" };
    assert.match(await refused({ linux: { sysctls: asKey } }), /sysctls/);
    const { podSandboxId } = await node.cri.call("RunPodSandbox", {
      config: { ...sandboxConfig("smuggler"), linux: { sysctls: { "kernel.shm_rmid_forced": "1" } } },
    });
    await node.cri.call("RemovePodSandbox", { podSandboxId });
    const error: ServiceError = await node.cri
      .call("RunPodSandbox", {
        config: { ...sandboxConfig("value"), linux: { sysctls: { "kernel.shm_rmid_forced": `1+${smuggled}` } } },
      })
      .then(
        () => assert.fail("it was accepted"),
        (reason: ServiceError) => reason,
      );
    assert.match(error.details, /shm_rmid_forced/);
    assert.equal(await readFile("/proc/sys/kernel/core_pattern", "utf8"), pattern);
  });

  for (const [what, name, security] of [
    ["is the whole node's", "kernel.core_pattern", {}],
    ["would go to the host's IPC namespace", "kernel.shm_rmid_forced", { ipc: "NODE" }],
    ["would go to the host's network", "net.ipv4.ip_forward", { network: "NODE" }],
  ] as const) {
    test(`for a sysctl that ${what} is refused (as CVE-2022-0532)`, async () => {
      const value = (await readFile(`/proc/sys/${name.replaceAll(".", "/")}`, "utf8")).trim();
      const linux = { sysctls: { [name]: value }, securityContext: { namespaceOptions: security } };
      assert.match(await refused({ hostname: "", linux }), new RegExp(name.replaceAll(".", "\\.")));
    });
  }

  test("names no file outside of its log directory (as CVE-2025-0750)", async () => {
    const { folder } = node.server.paths;
    assert.match(await refused({ logDirectory: `${folder}/logs/../../outside` }), /log_directory/);
    const pod = await node.pod({ logDirectory: join(folder, "logs") });
    for (const logPath of ["../outside.log", "a/../../outside.log", "/outside.log"]) {
      const error: ServiceError = await node.create(pod, "plain", { logPath }).then(
        () => assert.fail("it was accepted"),
        (reason: ServiceError) => reason,
      );
      assert.equal(error.code, status.INVALID_ARGUMENT);
      assert.match(error.details, /log_path/);
    }
    assert.ok(!(await readdir(folder)).includes("outside.log"));
  });

  test("whose names are paths gets files of ours by ids alone (as CVE-2025-0750)", async () => {
    const { folder } = node.server.paths;
    const metadata = { name: "../../name", namespace: "../ns", uid: "../../../uid", attempt: 0 };
    const config = { ...sandboxConfig("x"), metadata, hostname: "x" };
    const { podSandboxId } = await node.cri.call("RunPodSandbox", { config });
    await node.run({ id: podSandboxId, config }, "plain", { metadata: { name: "../../../../tmp/container" } });
    const names = await readdir(folder, { recursive: true });
    assert.deepEqual(
      names.filter((name) => /(^|\/)(name|ns|uid|container)$/.test(name) && !name.includes("/fs/")),
      [],
    );
  });

  test("cannot command the runtime by annotations (as CVE-2023-6476, CVE-2024-3154)", async () => {
    const annotations = {
      "run.oci.systemd.subgroup": "x",
      "run.oci.hooks.stderr": "/tmp/x",
      "org.systemd.property.ExecStartPre": "['/bin/touch /tmp/x']",
      "io.kubernetes.cri-o.TrySkipVolumeSELinuxLabel": "true",
      "cpu-load-balancing.crio.io": "disable",
      "io.kubernetes.cri.container-type": "sandbox",
    };
    const config = { ...sandboxConfig("annotated"), annotations };
    const { podSandboxId } = await node.cri.call("RunPodSandbox", { config });
    const id = await node.run({ id: podSandboxId, config }, "plain", { annotations });
    const spec = await specOf(node, id);
    assert.deepEqual(
      Object.keys(spec.annotations).filter((name) => !name.startsWith("io.kubernetes.cri.")),
      [],
    );
    assert.equal(spec.annotations["io.kubernetes.cri.container-type"], "container");
  });

  test("of a program that is not root is not read by a monitor, wherever its socket lies (as CVE-2020-15257)", async () => {
    await node.run(await node.pod(), "plain");
    const table = (await readFile("/proc/net/unix", "utf8")).split("\n");
    const sockets = table.map((line) => line.split(" ").at(-1) ?? "");
    assert.deepEqual(
      sockets.filter((path) => path.startsWith("@")),
      [],
      "abstract sockets",
    );
    const folder = join(node.server.paths.runDir, "m");
    assert.equal((await stat(folder)).mode & 0o077, 0);
    const monitor = sockets.find((path) => path.startsWith(folder)) ?? assert.fail("no monitor's socket");
    // As if the modes were wrong: what counts is who asks.
    for (const [path, mode] of [
      [node.server.paths.folder, 0o711],
      [folder, 0o711],
      [monitor, 0o666],
    ] as const)
      await chmod(path, mode);
    assert.equal(await answerTo(0, monitor), "answered");
    assert.equal(await answerTo(65_534, monitor), "closed");
  });

  test("leaves no folder of state that others may enter (as CVE-2021-41103, CVE-2024-25621)", async () => {
    const id = await node.run(await node.pod(), "plain");
    const { root, runDir } = node.server.paths;
    const { runtimeSpec, writableLayer } = await placesOf(node, id);
    for (const path of [runtimeSpec, writableLayer, join(root, "state.db")]) await assertClosed(path, [root, runDir]);
  });
});

/** What a process of this user hears when it says HELLO to the socket. */
async function answerTo(uid: number, path: string): Promise<string> {
  const hello = Buffer.alloc(16 + 13);
  hello.writeUInt32LE(13, 0);
  hello.writeUInt16LE(0x0101, 4);
  hello.writeBigUInt64LE(1n, 8);
  hello.writeUInt16LE(1, 16);
  hello.writeUInt16LE(1, 18);
  hello.writeUInt8(2, 28);
  const script = `process.setgroups([]); process.setgid(${uid}); process.setuid(${uid});
    const socket = require("node:net").connect(${JSON.stringify(path)});
    const say = (text) => { console.log(text); process.exit(); };
    socket.on("connect", () => socket.write(Buffer.from("${hello.toString("hex")}", "hex")));
    socket.on("data", () => say("answered"));
    socket.on("error", (error) => say(error.code === "ECONNRESET" || error.code === "EPIPE" ? "closed" : error.code));
    socket.on("close", () => say("closed"));`;
  const { stdout } = await promisify(execFile)(process.execPath, ["-e", script]);
  return stdout.trim();
}

/** Some folder on the way from one of `tops` to `path` lets nobody but its owner in. */
async function assertClosed(path: string, tops: readonly string[]): Promise<void> {
  const top = tops.find((candidate) => path.startsWith(`${candidate}/`)) ?? assert.fail(path);
  const parts = path.slice(top.length + 1).split("/");
  const folders = parts.map((_, index) => join(top, ...parts.slice(0, index)));
  const modes = await Promise.all(folders.map(async (folder) => (await stat(folder)).mode & 0o077));
  assert.ok(
    modes.includes(0),
    `${folders.map((folder, index) => `${folder} ${modes[index]?.toString(8)}`).join("\n")}`,
  );
}

async function placesOf(node: AttackNode, containerId: string) {
  const { info } = await node.cri.call("ContainerStatus", { containerId, verbose: true });
  const { bundle, writableLayer }: { bundle: string; writableLayer: string } = JSON.parse(info["info"] ?? "{}");
  return { runtimeSpec: join(bundle, "config.json"), writableLayer };
}

async function specOf(node: AttackNode, containerId: string) {
  const { runtimeSpec } = await placesOf(node, containerId);
  const spec: { annotations: Record<string, string> } = JSON.parse(await readFile(runtimeSpec, "utf8"));
  return spec;
}

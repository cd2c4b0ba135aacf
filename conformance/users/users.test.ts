import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { after, before, describe } from "node:test";
import { promisify } from "node:util";
import { status } from "@grpc/grpc-js";
import { hasStatus } from "../harness/cri-client.ts";
import { containerConfig, idMappings, sandboxConfig } from "../harness/cri-configs.ts";
import type { CustomImage } from "../harness/custom-image.ts";
import { written } from "../harness/event.ts";
import { Gated } from "../harness/gated.ts";
import { TestNode } from "../harness/test-node.ts";
import { runcWithIdmap, skipWithoutRunc } from "../harness/tools.ts";
import { compiled, directory, file } from "../images/rootfs.ts";
import { UserPods } from "./user-pods.ts";

const run = promisify(execFile);
const first = 100_000;
const second = 300_000;
const image = "registry.k8s.io/nacelle-test/users:1";

/** Has a setuid program and a volume with a file of a user of its own. */
async function toolImage(): Promise<CustomImage> {
  return {
    reference: image,
    entries: [
      await compiled("nnp", "usr/local/bin/nnp", 0o6755),
      directory("data"),
      { ...file("data/daemons", ""), uid: 1, gid: 1 },
    ],
    config: { Volumes: { "/data": {}, "/empty": {} } },
  };
}

for (const { handler, skip, settings } of [
  { handler: "crun", skip: false, settings: () => ({}) },
  { handler: "runc", skip: skipWithoutRunc, settings: () => ({ "runtimes.runc.path": runcWithIdmap() }) },
] as const) {
  describe(`a pod with ids of its own, by ${handler}`, { skip }, () => {
    const owned = new AsyncDisposableStack();
    let node: TestNode;
    let pods: UserPods;

    before(async () => {
      node = owned.use(await TestNode.start({ settings: settings(), images: [await toolImage()] }));
      pods = new UserPods(node, handler);
    });
    after(() => owned.disposeAsync());

    for (const pid of ["CONTAINER", "POD"] as const) {
      test(`owns its files inside, and is somebody else outside, with a PID namespace of the ${pid.toLowerCase()}`, async () => {
        const sandbox = await pods.run(`files-${pid}`, { pid, firstId: first });
        const id = await pods.start(sandbox, "c", { pid, firstId: first });
        assert.equal(await pods.sh(id, "id -u; stat -c %u:%g / /bin/busybox /etc/hosts"), "0\n0:0\n0:0\n0:0");
        const map = (await pods.sh(id, "cat /proc/self/uid_map")).split(/\s+/).map(Number);
        assert.deepEqual(map, [0, first, 65_536]);
        // By /proc/self/fd, to the pipes themselves: they are its user's.
        assert.equal(await pods.sh(id, "echo out >/dev/stdout; cat /dev/stdin"), "out");
        await pods.sh(id, "touch /made; chown 33:33 /made; echo more >>/etc/passwd; echo x >/etc/hostname");
        const upper = join(node.server.paths.root, "containers", id, "upper");
        assert.equal((await stat(join(upper, "made"))).uid, first + 33);
        assert.equal((await stat(join(upper, "etc/passwd"))).uid, first);
        const pid1 = await pods.sh(id, "stat -c %u /proc/1");
        assert.equal(pid1, "0");
        await pods.remove(sandbox);
        await node.assertClean();
      });
    }

    test("has shm, message queues, /sys and sysctls of its own", async () => {
      const sysctls = { "kernel.shm_rmid_forced": "1", "fs.mqueue.msg_max": "17", "net.ipv4.ip_forward": "0" };
      const sandbox = await pods.run("sysctls", { firstId: first, sysctls });
      const id = await pods.start(sandbox, "c", { firstId: first });
      const read =
        "cd /proc/sys; cat kernel/shm_rmid_forced fs/mqueue/msg_max net/ipv4/ip_forward net/ipv4/ping_group_range";
      assert.equal(await pods.sh(id, read), "1\n17\n0\n0\t65535");
      await pods.sh(
        id,
        "echo x >/dev/shm/file; stat -c %u /dev/shm /dev/shm/file; touch /dev/mqueue/q; ls /sys/class/net/eth0",
      );
      assert.equal(await pods.sh(id, "stat -c %u:%a /dev/shm /dev/shm/file"), "0:1777\n0:644");
      assert.equal(await pods.sh(id, "hostname"), "sysctls");
      const devices = [{ hostPath: "/dev/zero", containerPath: "/dev/other", permissions: "r" }];
      const config = { ...containerConfig("devices", { firstId: first }), devices };
      const other = await node.cri.call("CreateContainer", { podSandboxId: sandbox, config, sandboxConfig: null });
      await node.cri.call("StartContainer", other);
      assert.equal(
        await pods.sh(other.containerId, "head -c 3 /dev/other | wc -c; ls -l /dev/other | cut -c1"),
        "3\nc",
      );
      const shm = await pods.sh(id, "grep ' /dev/shm ' /proc/mounts");
      for (const option of ["nosuid", "nodev", "noexec"]) assert.ok(shm.includes(option), shm);
      await pods.remove(sandbox);
      await node.assertClean();
    });

    test("is apart from a pod with other ids, and each sees its own in a volume that is id-mapped", async () => {
      const volume = join(node.server.paths.folder, `volume-${handler}`);
      await mkdir(volume);
      await chmod(volume, 0o755);
      await writeFile(join(volume, "ours"), "");
      const mount = (firstId: number) => ({
        ...{ hostPath: volume, containerPath: "/volume" },
        ...{ uidMappings: idMappings(firstId), gidMappings: idMappings(firstId) },
      });
      const plain = { hostPath: volume, containerPath: "/plain", readonly: true };
      const sandboxes: string[] = [];
      for (const firstId of [first, second]) {
        const sandbox = await pods.run(`apart-${firstId}`, { firstId });
        sandboxes.push(sandbox);
        const id = await pods.start(sandbox, "c", { firstId, mounts: [mount(firstId), plain] });
        await pods.sh(id, `touch /volume/by-${firstId}; chown 7:8 /volume/by-${firstId}`);
        assert.equal(await pods.sh(id, `stat -c %u:%g /volume/ours /volume/by-${firstId}`), "0:0\n7:8");
        assert.equal(await pods.sh(id, "stat -c %u:%g /plain/ours; ! touch /plain/no 2>/dev/null"), "65534:65534");
        const { uid, gid } = await stat(join(volume, `by-${firstId}`));
        assert.deepEqual([uid, gid], [7, 8]);
        assert.match(await pods.sh(id, "cat /proc/self/uid_map"), new RegExp(`\\b${firstId}\\b`));
      }
      for (const sandbox of sandboxes) await pods.remove(sandbox);
      await node.assertClean();
    });

    test("runs setuid programs as its own root, and users and directories as the image and the request name them", async () => {
      const logDirectory = await node.logDirectory(`setuid-${handler}`);
      const sandbox = await pods.run("setuid", { firstId: first, logDirectory });
      const id = await pods.start(sandbox, "c", {
        ...{ image, firstId: first, securityContext: { runAsUser: { value: "1000" } }, logPath: "c.log" },
        workingDir: "/work/dir",
        mounts: [
          { containerPath: "/image", image: { image }, readonly: true },
          { containerPath: "/part", image: { image }, imageSubPath: "data", readonly: true },
        ],
        // Opened anew by a user who is not root: the pipe has to be his.
        command: ["sh", "-c", "nnp >/dev/stdout; sleep 1000"],
      });
      await written(join(logDirectory, "c.log"), "Effective uid: 0", AbortSignal.timeout(20_000));
      assert.equal(await pods.sh(id, "id -u; nnp"), "1000\nEffective uid: 0");
      const owners = await pods.sh(id, "stat -c %u:%g /data /data/daemons /empty /work /work/dir; pwd");
      assert.equal(owners, "0:0\n1:1\n0:0\n0:0\n0:0\n/work/dir");
      const mounted = "stat -c %u:%g /image/bin/busybox /image/data/daemons /part/daemons; ! touch /part/x 2>/dev/null";
      assert.equal(await pods.sh(id, mounted), "0:0\n1:1\n1:1");
      await assert.rejects(
        pods.create(sandbox, "beyond", { firstId: first, securityContext: { runAsUser: { value: "70000" } } }),
        (error) =>
          hasStatus(error, status.INVALID_ARGUMENT) && /user 70000 is not among the 65536 ids/.test(error.details),
      );
      await pods.remove(sandbox);
      await node.assertClean();
    });

    test("sees an image that it mounts, or a directory in it, with the owners that the image gives", async () => {
      const sandbox = await pods.run("image-volume", { firstId: first });
      const whole = { containerPath: "/whole", image: { image }, readonly: true };
      const part = { ...whole, containerPath: "/part", imageSubPath: "data" };
      const id = await pods.start(sandbox, "c", { firstId: first, mounts: [whole, part] });
      assert.equal(await pods.sh(id, "stat -c %u:%g /whole /whole/data/daemons /part/daemons"), "0:0\n1:1\n1:1");
      assert.equal(await pods.sh(id, "/whole/usr/local/bin/nnp; ! touch /whole/x 2>/dev/null"), "Effective uid: 0");
      await pods.remove(sandbox);
      await node.assertClean();
    });

    test("lives through the death of the daemon, which then makes more containers in it", async () => {
      const sandbox = await pods.run("restart", { firstId: first });
      const before = await pods.start(sandbox, "before", { firstId: first });
      await node.server.kill();
      await node.server.restart();
      const { status: told } = await node.cri.call("PodSandboxStatus", { podSandboxId: sandbox });
      assert.equal(told.state, "SANDBOX_READY");
      assert.deepEqual(told.linux.namespaces.options.usernsOptions, {
        ...{ mode: "POD", uids: idMappings(first), gids: idMappings(first) },
      });
      const next = await pods.start(sandbox, "next", { firstId: first });
      const namespace = "readlink /proc/self/ns/user";
      assert.equal(await pods.sh(before, namespace), await pods.sh(next, namespace));
      await pods.remove(sandbox);
      await node.assertClean();
    });

    test("is refused by name where it asks for ids that it cannot have", async () => {
      const sandbox = await pods.run("refused", { firstId: first });
      const refused = (code: number, message: RegExp) => (error: unknown) => {
        assert.ok(hasStatus(error, code), String(error));
        assert.match(error.details, message);
        return true;
      };
      await assert.rejects(
        pods.create(sandbox, "other", { firstId: second }),
        refused(status.INVALID_ARGUMENT, /userns_options is not what the sandbox was made with/),
      );
      const mappings = (firstId: number) => ({ uidMappings: idMappings(firstId), gidMappings: idMappings(firstId) });
      const mounted = (hostPath: string, firstId: number) => ({
        ...{ firstId: first, mounts: [{ hostPath, containerPath: "/volume", ...mappings(firstId) }] },
      });
      await assert.rejects(
        pods.create(sandbox, "mount", mounted("/tmp", second)),
        refused(status.INVALID_ARGUMENT, /config.mounts\[0\].uidMappings and gidMappings are not the sandbox's/),
      );
      await assert.rejects(
        pods.create(sandbox, "proc", mounted("/proc/tty", first)),
        refused(status.FAILED_PRECONDITION, /the file system of "\/proc\/tty" cannot be id-mapped \(EINVAL\)/),
      );
      await assert.rejects(
        pods.run("host", { firstId: first, hostNetwork: true }),
        refused(status.INVALID_ARGUMENT, /namespace_options.network is NODE, which userns_options/),
      );
      const noexec = { hostPath: "/tmp", containerPath: "/volume", mountOptions: ["noexec"] };
      if (handler === "crun") {
        await assert.rejects(
          pods.create(sandbox, "noexec", { firstId: first, mounts: [noexec] }),
          refused(status.FAILED_PRECONDITION, /mounts\[0\].mount_options: this runtime handler loses them/),
        );
      } else {
        const id = await pods.start(sandbox, "noexec", { firstId: first, mounts: [noexec] });
        assert.match(await pods.sh(id, "grep ' /volume ' /proc/mounts"), /noexec/);
      }
      await pods.remove(sandbox);
      await node.assertCleanEnd();
    });
  });
}

describe("a daemon that is killed while it makes a pod with ids of its own", () => {
  for (const command of ["create", "ADD"] as const) {
    test(`leaves nothing behind (at ${command})`, async () => {
      await using runtime = await Gated.runtime("/usr/bin/crun");
      await using plugin = await Gated.plugin("bridge");
      const settings = { "runtimes.crun.path": runtime.path, "cni.binDirs": `[${plugin.binDir}, /usr/lib/cni]` };
      await using node = await TestNode.start({ settings });
      const gate = command === "ADD" ? plugin : runtime;
      await gate.set(command, "hold");
      const config = sandboxConfig("killed", { firstId: first, pid: "POD" });
      const cut = assert.rejects(node.cri.call("RunPodSandbox", { config, runtimeHandler: "crun" }));
      await gate.held();
      await node.server.kill();
      await cut;
      await gate.set(command, "pass");
      await gate.release();
      await node.server.restart();
      await node.assertCleanEnd();
    });
  }
});

describe("what a runtime handler says of itself", () => {
  test("is what it can do: Debian's runc has no id-mapped mounts, and its pods with ids of their own are refused", async () => {
    await using node = await TestNode.start();
    const { runtimeHandlers } = await node.cri.call("Status", {});
    const features = new Map(runtimeHandlers.map((one) => [one.name, one.features]));
    assert.deepEqual(features.get("crun"), { recursiveReadOnlyMounts: true, userNamespaces: true });
    assert.deepEqual(features.get(""), { recursiveReadOnlyMounts: true, userNamespaces: false });
    const config = sandboxConfig("runc", { firstId: first });
    await assert.rejects(node.cri.call("RunPodSandbox", { config, runtimeHandler: "runc" }), (error) => {
      assert.ok(hasStatus(error, status.FAILED_PRECONDITION), String(error));
      assert.match(error.details, /userns_options: runtime handler runc: .*runc has no id-mapped mounts/);
      return true;
    });
  });

  test("is tried once, and again when the runtime is another one; a runtime that fails or hangs has none", async () => {
    await using runtime = await Gated.runtime("/usr/bin/crun");
    await using node = await TestNode.start({ settings: { "runtimes.crun.path": runtime.path } });
    const trials = async () => (await runtime.calls()).filter(({ subject }) => subject.startsWith("trial-")).length;
    const made = await trials();
    assert.ok(made > 0);
    await node.server.stop();
    await node.server.restart();
    assert.equal(await trials(), made);
    await run("touch", [runtime.path]);
    await runtime.set("run", "fail");
    await node.server.stop();
    await node.server.restart();
    assert.ok((await trials()) > made);
    const { runtimeHandlers } = await node.cri.call("Status", {});
    const crun = runtimeHandlers.find(({ name }) => name === "crun");
    assert.deepEqual(crun?.features, { recursiveReadOnlyMounts: false, userNamespaces: false });
    const log = await readFile(node.server.paths.log, "utf8");
    assert.equal(log.split("a runtime was tried and lacks a feature").length - 1, 2);
    await runtime.set("run", "hold");
    await node.server.stop();
    await node.server.restart();
    const held = (await runtime.held()).length;
    assert.equal(held, 1);
    const told = await node.cri.call("Status", {});
    assert.equal(told.runtimeHandlers.find(({ name }) => name === "crun")?.features.userNamespaces, false);
    assert.match(await readFile(node.server.paths.log, "utf8"), /lacks a feature.*"any".*no end within 10 s/);
    await node.assertCleanEnd();
  });
});

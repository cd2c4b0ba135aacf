import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { after, before, describe } from "node:test";
import { promisify } from "node:util";
import { status } from "@grpc/grpc-js";
import type { Message } from "../harness/cri-answers.ts";
import { hasStatus } from "../harness/cri-client.ts";
import { Pod } from "../harness/pod.ts";
import { TestNode } from "../harness/test-node.ts";

const run = promisify(execFile);

/** The sandbox's configuration with more in its security context. */
const secured = (more: Message) => (config: Message) => {
  const linux = config["linux"] as { readonly securityContext: Message };
  return { ...config, linux: { ...linux, securityContext: { ...linux.securityContext, ...more } } };
};

for (const runtime of ["runc", "crun"] as const) {
  describe(`what a container may do, with ${runtime}`, () => {
    const owned = new AsyncDisposableStack();
    let node: TestNode;
    let folder: string;

    before(async () => {
      node = owned.use(await TestNode.start({ defaultRuntime: runtime }));
      folder = join(node.server.paths.folder, "security");
      await mkdir(folder);
    });
    after(() => owned.disposeAsync());

    const refused = async (attempt: Promise<unknown>, code: status, text: RegExp) => {
      await assert.rejects(attempt, (error) => {
        assert.ok(hasStatus(error, code), String(error));
        assert.match(error.details, text);
        return true;
      });
    };
    const capabilities = async (pod: Pod, id: string): Promise<Readonly<Record<string, bigint>>> => {
      const lines = (await pod.shell(id, "cat /proc/self/status")).matchAll(/^Cap(\w+):\t([0-9a-f]+)$/gm);
      return Object.fromEntries([...lines].map(([, set = "", mask]) => [set, BigInt(`0x${mask}`)]));
    };

    test("is kept over an exec by a user who is not root only where it is ambient", async () => {
      const pod = await Pod.run(node, "ambient");
      const user = { runAsUser: { value: "1000" } };
      const bind = 1n << 10n;
      const ambient = {
        ...user,
        capabilities: { dropCapabilities: ["ALL"], addAmbientCapabilities: ["NET_BIND_SERVICE"] },
      };
      const kept = await capabilities(pod, await pod.start("kept", { securityContext: ambient }));
      assert.deepEqual(kept, { Inh: bind, Prm: bind, Eff: bind, Bnd: bind, Amb: bind });
      const plain = { ...user, capabilities: { addCapabilities: ["NET_BIND_SERVICE"] } };
      const lost = await capabilities(pod, await pod.start("lost", { securityContext: plain }));
      assert.deepEqual([lost["Inh"], lost["Prm"], lost["Eff"], lost["Amb"]], [0n, 0n, 0n, 0n]);
      await pod.remove();
    });

    test("is everything for a privileged one: devices, /sys, cgroups, nothing masked", async () => {
      const pod = await Pod.run(node, "privileged", {}, secured({ privileged: true }));
      const securityContext = { privileged: true, maskedPaths: ["/proc/kcore"], readonlyPaths: ["/proc/sys"] };
      const id = await pod.start("c", { securityContext });
      assert.equal(await pod.shell(id, "ls /dev/loop-control"), "/dev/loop-control\n");
      const options = (target: string) => pod.shell(id, `grep ' ${target} ' /proc/mounts | cut -d' ' -f4`);
      assert.match(await options("/sys"), /^rw,/);
      assert.match(
        await pod.shell(id, "grep -m1 ' /sys/fs/cgroup/memory ' /proc/mounts || grep ' /sys/fs/cgroup ' /proc/mounts"),
        / rw,/,
      );
      assert.equal(await pod.shell(id, "grep -c -E ' /proc/(kcore|sys) ' /proc/mounts || true"), "0\n");
      await refused(
        (await Pod.run(node, "plain")).create("c", { securityContext: { privileged: true } }),
        status.FAILED_PRECONDITION,
        /privileged/,
      );
    });

    test("is seen of a running container of the pod, by one that joins its processes", async () => {
      const pod = await Pod.run(node, "target");
      const target = await pod.start("target", { command: ["sh", "-c", "exec sleep 4711"] });
      const namespaceOptions = { network: "POD", ipc: "POD", pid: "TARGET", targetId: target };
      const debug = await pod.start("debug", { securityContext: { namespaceOptions } });
      assert.match(await pod.shell(debug, "tr '\\0' ' ' < /proc/1/cmdline"), /^sleep 4711/);
      const own = await pod.start("own");
      assert.doesNotMatch(await pod.shell(own, "tr '\\0' ' ' < /proc/1/cmdline"), /4711/);
      const other = await Pod.run(node, "other");
      const join = (into: Pod, targetId: string) =>
        into.create("joins", { securityContext: { namespaceOptions: { ...namespaceOptions, targetId } } });
      await refused(join(other, target), status.FAILED_PRECONDITION, /target_id .* is no container of this sandbox/);
      await refused(join(pod, "f".repeat(64)), status.FAILED_PRECONDITION, /target_id .* is no container/);
      const idle = await pod.create("idle");
      await refused(join(pod, idle), status.FAILED_PRECONDITION, /target_id .* is created/);
      await node.cri.call("StopContainer", { containerId: target, timeout: "0" });
      await refused(join(pod, target), status.FAILED_PRECONDITION, /target_id .* is exited/);
      await Promise.all([pod.remove(), other.remove()]);
    });

    test("cannot be bounded by AppArmor or SELinux here: that is refused, or ignored where charts set it everywhere", async () => {
      const pod = await Pod.run(node, "modules", {}, secured({ selinuxOptions: { level: "s0:c1,c2" } }));
      for (const profile of [
        { apparmor: {} },
        { apparmor: { profileType: "Localhost", localhostRef: "localhost/web" } },
        { apparmorProfile: "localhost/web" },
        { apparmorProfile: "runtime/default" },
      ]) {
        await refused(
          pod.create("c", { securityContext: profile }),
          status.FAILED_PRECONDITION,
          /apparmor.*without AppArmor/,
        );
      }
      await refused(
        Pod.run(node, "x", {}, secured({ apparmor: {} })),
        status.FAILED_PRECONDITION,
        /apparmor.*without AppArmor/,
      );
      const securityContext = {
        ...{ apparmor: { profileType: "Unconfined" }, apparmorProfile: "localhost/web" },
        selinuxOptions: { user: "u", role: "r", type: "t", level: "s0:c4" },
      };
      const mounts = [{ containerPath: "/labelled", hostPath: folder, selinuxRelabel: true }];
      const id = await pod.start("c", { securityContext, mounts });
      assert.equal(await pod.shell(id, "echo runs"), "runs\n");
      await pod.remove();
    });

    test("is what the older field of the seccomp profile says, too", async () => {
      const profile = join(folder, "no-chmod.json");
      const syscalls = [{ names: ["chmod", "fchmodat", "fchmodat2"], action: "SCMP_ACT_ERRNO", args: [] }];
      await writeFile(profile, JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", syscalls }), { mode: 0o600 });
      const pod = await Pod.run(node, "seccomp");
      const seccompOf = async (name: string, seccompProfilePath: string) => {
        const id = await pod.start(name, { securityContext: { seccomp: null, seccompProfilePath } });
        const { output } = await pod.attempt(id, "grep Seccomp: /proc/self/status; chmod 600 /etc/passwd");
        return output;
      };
      assert.match(await seccompOf("local", `localhost/${profile}`), /Seccomp:\t2\n.*Operation not permitted/s);
      assert.equal(await seccompOf("default", "runtime/default"), "Seccomp:\t2\n");
      assert.equal(await seccompOf("none", "unconfined"), "Seccomp:\t0\n");
      await pod.remove();
    });

    test("is to use the devices it is given: a directory of them, and one behind a link", async () => {
      const devices = join(folder, "devices");
      await mkdir(join(devices, "more"), { recursive: true });
      await run("mknod", ["-m", "666", join(devices, "more/null"), "c", "1", "3"]);
      await run("mknod", ["-m", "666", join(devices, "zero"), "c", "1", "5"]);
      await run("mknod", ["-m", "600", join(devices, "loop-control"), "c", "10", "237"]);
      await symlink(join(devices, "loop-control"), join(folder, "link"));
      const pod = await Pod.run(node, "devices");
      const asked = [
        { containerPath: "/dev/given", hostPath: devices, permissions: "r" },
        { containerPath: "/dev/linked", hostPath: join(folder, "link"), permissions: "rw" },
      ];
      const id = await pod.start("c", { devices: asked });
      const listed = "/dev/given:\nloop-control\nmore\nzero\n\n/dev/given/more:\nnull\na:ed\n";
      assert.equal(await pod.shell(id, "ls -R /dev/given; stat -c '%t:%T' /dev/linked"), listed);
      assert.equal(await pod.shell(id, "head -c 3 /dev/given/zero | wc -c"), "3\n");
      await pod.remove();
    });

    test("left nothing", async () => {
      for (const { id } of (await node.cri.call("ListPodSandbox", {})).items) {
        await node.cri.call("StopPodSandbox", { podSandboxId: id });
        await node.cri.call("RemovePodSandbox", { podSandboxId: id });
      }
      await node.assertCleanEnd();
    });
  });
}

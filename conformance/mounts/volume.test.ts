import assert from "node:assert/strict";
import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import test, { after, before, describe } from "node:test";
import { status } from "@grpc/grpc-js";
import { hasStatus } from "../harness/cri-client.ts";
import { Pod } from "../harness/pod.ts";
import { TestNode } from "../harness/test-node.ts";
import { directory, file } from "../images/rootfs.ts";

const declared = "registry.k8s.io/declared:1";
const declaredImage = {
  reference: declared,
  entries: [
    { ...directory("data", 0o2750), uid: 33, gid: 34 },
    { ...file("data/program", "#!/bin/sh\necho from the image\n", 0o4755), uid: 33, gid: 34 },
    { kind: "symbolicLink", path: "data/link", target: "/etc/passwd" },
    file("behind/link", "behind a link\n"),
    { kind: "symbolicLink", path: "linked", target: "/behind" },
    file("plain", "no directory\n"),
  ],
  config: { Volumes: { "/data": {}, "/linked": {}, "/made/up": {}, "/hidden/": {} } },
} as const;
const fileImage = {
  reference: "registry.k8s.io/declares-a-file:1",
  entries: [file("plain", "no directory\n")],
  config: { Volumes: { "/plain": {} } },
} as const;

for (const runtime of ["runc", "crun"] as const) {
  describe(`volumes with ${runtime}`, () => {
    const owned = new AsyncDisposableStack();
    let node: TestNode;
    let folder: string;

    before(async () => {
      node = owned.use(await TestNode.start({ defaultRuntime: runtime, images: [declaredImage, fileImage] }));
      folder = join(node.server.paths.folder, "volumes");
      await mkdir(folder);
    });
    after(() => owned.disposeAsync());

    test("that an image declares begin with what it has there, each container's its own", async () => {
      const pod = await Pod.run(node, "declared");
      const [first, second] = await Promise.all(["a", "b"].map((name) => pod.start(name, { image: declared })));
      assert.ok(first !== undefined && second !== undefined);
      const listed = await pod.shell(first, "stat -c '%n %a %u %g' /data /data/program; readlink /data/link");
      assert.equal(listed, "/data 2750 33 34\n/data/program 4755 33 34\n/etc/passwd\n");
      assert.equal(
        await pod.shell(first, "/data/program; cat /linked/link; ls -A /made/up"),
        "from the image\nbehind a link\n",
      );
      await pod.shell(first, "grep ' /data ' /proc/mounts && rm /data/program && touch /made/up/x");
      assert.equal(await pod.shell(second, "/data/program; ls -A /made/up"), "from the image\n");
      await pod.remove();
      await node.assertClean();
    });

    test("that an image declares are hidden by a mount of the request at the same path", async () => {
      const pod = await Pod.run(node, "hidden");
      const hostPath = join(folder, "hiding");
      await mkdir(hostPath);
      const mounts = [
        { containerPath: "/data", hostPath },
        { containerPath: "/hidden", hostPath },
      ];
      const id = await pod.start("c", { image: declared, mounts });
      assert.equal(await pod.shell(id, "ls -A /data; touch /data/x; ls -A /hidden"), "x\n");
      await pod.remove();
      await node.assertClean();
    });

    test("that an image declares on a file are refused", async () => {
      const pod = await Pod.run(node, "on-a-file");
      await assert.rejects(pod.create("c", { image: fileImage.reference }), (error) => {
        assert.ok(hasStatus(error, status.INVALID_ARGUMENT), String(error));
        assert.match(error.details, /image's volume "\/plain"/);
        return true;
      });
      await pod.remove();
      await node.assertClean();
    });

    test("may be links, files, sockets and devices, and be mounted on what the image does not have", async () => {
      const pod = await Pod.run(node, "kinds");
      await mkdir(join(folder, "real"));
      await writeFile(join(folder, "real/file"), "real\n");
      await symlink("real", join(folder, "link"));
      const socketPath = join(folder, "s");
      await using listener = createServer().listen(socketPath);
      const mounts = [
        { containerPath: "/a/b/link", hostPath: join(folder, "link") },
        { containerPath: "/c/file", hostPath: join(folder, "link/file"), readonly: true },
        { containerPath: "/run/socket", hostPath: socketPath },
        { containerPath: "/dev/nothing", hostPath: "/dev/null" },
        { containerPath: "/etc/hosts", hostPath: join(folder, "real/file") },
      ];
      const id = await pod.start("c", { mounts, terminationPath: join(folder, "real/file") });
      assert.ok(listener.listening);
      assert.equal(await pod.shell(id, "cat /a/b/link/file /c/file /etc/hosts"), "real\n".repeat(3));
      assert.equal(await pod.shell(id, "stat -c %F /run/socket /dev/nothing"), "socket\ncharacter special file\n");
      assert.match((await pod.attempt(id, "echo x > /c/file")).output, /Read-only/);
      await pod.shell(id, "echo done > /dev/termination-log");
      assert.equal(await readFile(join(folder, "real/file"), "utf8"), "done\n");
      await pod.remove();
      await node.assertClean();
    });

    test("have the options of mount(8) that they are asked to have", async () => {
      const { features } = (await node.cri.call("Status", {})) as unknown as { features: { mountOptions: boolean } };
      assert.equal(features.mountOptions, true);
      const pod = await Pod.run(node, "options");
      const hostPath = join(folder, "options");
      await mkdir(hostPath);
      await writeFile(join(hostPath, "program"), "#!/bin/sh\necho executed\n", { mode: 0o755 });
      const mountOptions = ["noexec", "nosuid", "nodev", "noatime"];
      const mounts = [
        { containerPath: "/closed", hostPath, mountOptions },
        { containerPath: "/open", hostPath },
        { containerPath: "/both", hostPath, readonly: true, mountOptions: ["noexec"] },
      ];
      const id = await pod.start("c", { mounts });
      assert.equal(await pod.shell(id, "/open/program"), "executed\n");
      assert.match((await pod.attempt(id, "/closed/program")).output, /[Pp]ermission denied/);
      const shown = (await pod.shell(id, "grep ' /closed ' /proc/mounts")).split(" ")[3]?.split(",") ?? [];
      assert.deepEqual(
        mountOptions.filter((option) => !shown.includes(option)),
        [],
      );
      await pod.shell(id, "touch /closed/written");
      assert.match((await pod.attempt(id, "touch /both/x")).output, /Read-only/);
      const [first] = (await node.cri.call("ContainerStatus", { containerId: id })).status.mounts;
      assert.deepEqual(first?.mountOptions, mountOptions);
      await assert.rejects(
        pod.create("x", { mounts: [{ ...mounts[1], mountOptions: ["rw"] }] }),
        /mount_options\[0\].*readonly/,
      );
      await pod.remove();
      await node.assertClean();
    });

    test("may hold the server's own state: nothing stays when what they show is removed", async () => {
      const watched = await Pod.run(node, "watched");
      await watched.start("c", { image: declared });
      const watcher = await Pod.run(node, "watcher");
      const { root, runDir } = node.server.paths;
      const mounts = [
        { containerPath: "/state", hostPath: root, readonly: true, propagation: "PROPAGATION_HOST_TO_CONTAINER" },
        { containerPath: "/run-files", hostPath: runDir, readonly: true },
      ];
      const id = await watcher.start("c", { mounts });
      await watcher.shell(id, "ls /state/layers /run-files/mnt");
      await watched.remove();
      const later = await Pod.run(node, "later");
      await later.start("c");
      await later.remove();
      await watcher.shell(id, "true");
      await watcher.remove();
      await node.assertClean();
    });

    test("left no row", () => node.assertCleanEnd());
  });
}

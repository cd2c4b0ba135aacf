import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test, { after, before, describe } from "node:test";
import { status } from "@grpc/grpc-js";
import type { Message } from "../harness/cri-answers.ts";
import { busybox } from "../harness/cri-configs.ts";
import { Pod } from "../harness/pod.ts";
import { simulateReboot } from "../harness/reboot.ts";
import { TestNode } from "../harness/test-node.ts";
import { directory, file } from "../images/rootfs.ts";

const tools = "registry.k8s.io/tools:1";
const toolsImage = {
  reference: tools,
  entries: [
    directory("tools"),
    file("tools/hello", "#!/bin/sh\necho hello from an image\n", 0o755),
    { kind: "symbolicLink", path: "escape", target: "/etc/../../../../etc" },
    { kind: "symbolicLink", path: "host", target: "/proc/1/root/etc" },
  ],
} as const;

const imageMount = (more: Message = {}): Message => ({
  ...{ containerPath: "/volume", image: { image: tools }, readonly: true },
  ...more,
});

for (const runtime of ["runc", "crun"] as const) {
  describe(`an image as a volume, with ${runtime}`, () => {
    const owned = new AsyncDisposableStack();
    let node: TestNode;

    before(async () => {
      node = owned.use(await TestNode.start({ defaultRuntime: runtime, images: [toolsImage] }));
    });
    after(() => owned.disposeAsync());

    const mountsStatus = async (containerId: string) =>
      (await node.cri.call("ContainerStatus", { containerId })).status.mounts;
    const refusal = async (pod: Pod, mount: Message): Promise<{ code: status; details: string }> => {
      const error: unknown = await pod.create("refused", { mounts: [mount] }).catch((reason: unknown) => reason);
      assert.ok(error instanceof Error && "code" in error && "details" in error, String(error));
      return { code: error.code as status, details: String(error.details) };
    };

    test("is seen by five containers at once, executed from, and written to by none", async () => {
      const pod = await Pod.run(node, "five");
      const ids = await Promise.all(
        ["a", "b", "c", "d", "e"].map((name) => pod.start(name, { mounts: [imageMount()] })),
      );
      for (const id of ids) {
        assert.equal(await pod.shell(id, "/volume/tools/hello"), "hello from an image\n");
        const { output, exitCode } = await pod.attempt(id, "touch /volume/x || mount -o remount,rw /volume");
        assert.notEqual(exitCode, 0);
        assert.match(output, /Read-only file system/);
        const [mount] = await mountsStatus(id);
        assert.equal(mount?.hostPath, "");
        assert.equal(mount?.image?.image, tools);
        assert.match(mount.image.imageRef, /^sha256:[0-9a-f]{64}$/);
        const { image } = (await node.cri.call("ImageStatus", { image: { image: tools } })) as {
          image: { id: string };
        };
        assert.equal(mount.image.imageRef, image.id);
      }
      await pod.remove();
      await node.assertClean();
    });

    test("shows a directory of the image where one is asked for", async () => {
      const pod = await Pod.run(node, "sub-path");
      const id = await pod.start("c", { mounts: [imageMount({ imageSubPath: "tools" })] });
      assert.equal(await pod.shell(id, "ls -A /volume && /volume/hello"), "hello\nhello from an image\n");
      assert.equal((await mountsStatus(id))[0]?.imageSubPath, "tools");
      await pod.remove();
      await node.assertClean();
    });

    test("refuses a directory that is not in the image, whatever links pretend to lead to one", async () => {
      const pod = await Pod.run(node, "refused");
      for (const [imageSubPath, fault] of [
        ["none", "does not exist"],
        ["tools/hello", "is no directory"],
        ["host", "does not exist|loop"],
      ] as const) {
        const { code, details } = await refusal(pod, imageMount({ imageSubPath }));
        assert.equal(code, status.INVALID_ARGUMENT, details);
        assert.match(details, new RegExp(`^ImageVolumeMountFailed: .*image_sub_path "${imageSubPath}" (${fault})`));
      }
      const writable = await refusal(pod, imageMount({ readonly: false }));
      assert.deepEqual([writable.code, /readonly/.test(writable.details)], [status.INVALID_ARGUMENT, true]);
      const absent = await refusal(pod, imageMount({ image: { image: "registry.k8s.io/absent:1" } }));
      assert.equal(absent.code, status.NOT_FOUND);
      assert.match(absent.details, /^ImageVolumeMountFailed: config\.mounts\[0\]\.image.*absent:1.*pull it/);
      const inside = await pod.start("inside", { mounts: [imageMount({ imageSubPath: "escape" })] });
      assert.match(await pod.shell(inside, "cat /volume/passwd"), /nobody:x:65534/);
      assert.notEqual(await pod.shell(inside, "cat /volume/passwd"), await readFile("/etc/passwd", "utf8"));
      await pod.remove();
      await node.assertClean();
    });

    test("is held while a container mounts it, also over a kill, and gone with it", async () => {
      const pod = await Pod.run(node, "held");
      const id = await pod.start("c", { mounts: [imageMount()] });
      await node.cri.call("RemoveImage", { image: { image: tools } });
      await node.server.kill();
      await node.server.restart();
      assert.equal(await pod.shell(id, "/volume/tools/hello"), "hello from an image\n");
      assert.match((await mountsStatus(id))[0]?.image?.imageRef ?? "", /^sha256:/);
      const again = await refusal(pod, imageMount());
      assert.equal(again.code, status.NOT_FOUND);
      await pod.remove();
      await node.assertClean();
      assert.equal((await node.cri.call("ListImages", {})).images.length, 1);
    });

    test("leaves no row and nothing on the machine, after a reboot either", async () => {
      const pod = await Pod.run(node, "rebooted");
      await pod.start("c", { mounts: [imageMount({ image: { image: busybox }, imageSubPath: "etc" })] });
      await node.server.stop();
      await simulateReboot(node.server.paths);
      await node.server.restart();
      await pod.remove();
      await node.assertCleanEnd();
    });
  });
}

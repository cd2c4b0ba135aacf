import assert from "node:assert/strict";
import { mkdir, stat, symlink } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { status } from "@grpc/grpc-js";
import { hasStatus } from "../harness/cri-client.ts";
import { Pod } from "../harness/pod.ts";
import { TestNode } from "../harness/test-node.ts";

for (const runtime of ["runc", "crun"] as const) {
  test(`a path that the host does not have is refused, with the remedies, under ${runtime}`, async () => {
    await using node = await TestNode.start({ defaultRuntime: runtime });
    const hostPath = join(node.server.paths.folder, "missing/deep");
    const pod = await Pod.run(node, "missing");
    await assertRefused(pod, [hostPath, ...(await neverMade(node))]);
    await assert.rejects(pod.create("c", { mounts: [{ containerPath: "/data", hostPath }] }), /DirectoryOrCreate/);
    await assert.rejects(stat(hostPath), { code: "ENOENT" });
    await pod.remove();
    await node.assertCleanEnd();
  });

  test(`it becomes a directory where the configuration says so, under ${runtime}`, async () => {
    const settings = { "workload.createMissingHostPaths": "true" };
    await using node = await TestNode.start({ defaultRuntime: runtime, settings });
    const hostPath = join(node.server.paths.folder, "missing/deep");
    const pod = await Pod.run(node, "made");
    const id = await pod.start("c", { mounts: [{ containerPath: "/data", hostPath }] });
    await pod.shell(id, "touch /data/x");
    const made = await stat(hostPath);
    assert.deepEqual([made.isDirectory(), made.mode & 0o7777, made.uid], [true, 0o755, 0]);
    assert.ok(await stat(join(hostPath, "x")));
    await assertRefused(pod, await neverMade(node));
    await pod.remove();
    await node.assertCleanEnd();
  });
}

/** What is the kernel's to make, and a link that leads nowhere. */
async function neverMade(node: TestNode): Promise<readonly string[]> {
  const folder = join(node.server.paths.folder, "links");
  await mkdir(folder);
  await symlink(join(folder, "nowhere"), join(folder, "dangling"));
  return ["/dev/no-such-device", "/proc/no-such-file", "/sys/no/such", join(folder, "dangling")];
}

/** None of these is there, and a container that mounts one is refused by the path's name. */
async function assertRefused(pod: Pod, paths: readonly string[]): Promise<void> {
  for (const hostPath of paths) {
    await assert.rejects(pod.create("absent", { mounts: [{ containerPath: "/data", hostPath }] }), (error) => {
      assert.ok(hasStatus(error, status.INVALID_ARGUMENT), String(error));
      assert.ok(error.details.includes(hostPath), error.details);
      return true;
    });
  }
}

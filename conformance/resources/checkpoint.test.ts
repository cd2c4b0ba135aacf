import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtempDisposable, readdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after, before, beforeEach, describe } from "node:test";
import { promisify } from "node:util";
import { status } from "@grpc/grpc-js";
import { containerConfig, sandboxConfig } from "../harness/cri-configs.ts";
import { appeared, exists } from "../harness/event.ts";
import { TestNode } from "../harness/test-node.ts";
import { until } from "../harness/until.ts";
import { FakeCriu } from "./fake-criu.ts";
import { type Pod, pod, removePod, skipWithoutV1 } from "./limits.ts";

const run = promisify(execFile);

describe("a checkpoint", { skip: skipWithoutV1 }, () => {
  const owned = new AsyncDisposableStack();
  let criu: FakeCriu;
  let node: TestNode;
  let folder: string;
  let one: Pod;

  before(async () => {
    criu = owned.use(await FakeCriu.make());
    node = owned.use(await TestNode.start({ settings: { "runtimes.crun.path": criu.path } }));
    folder = owned.use(await mkdtempDisposable(join(tmpdir(), "k-"))).path;
    one = await pod(node, "checkpointed", { handler: "crun" });
  });
  beforeEach(() => criu.does("work"));
  after(async () => {
    await using _owned = owned;
    await removePod(node, one);
    await node.assertCleanEnd();
  });

  const write = (location: string, timeout = "30", containerId = one.containerId) =>
    node.cri.call("CheckpointContainer", { containerId, location, timeout });

  /** It runs, and what is executed in it does. */
  async function assertRuns(): Promise<void> {
    const { status: now } = await node.cri.call("ContainerStatus", { containerId: one.containerId });
    assert.equal(now.state, "CONTAINER_RUNNING");
    const frozen = `/sys/fs/cgroup/freezer/nacelle-conformance/${one.containerId}/freezer.state`;
    assert.equal((await readFile(frozen, "utf8")).trim(), "THAWED");
    const { exitCode } = await node.cri.call("ExecSync", {
      containerId: one.containerId,
      cmd: ["true"],
      timeout: "10",
    });
    assert.equal(exitCode, 0);
  }

  const unfinished = () => readdir(join(node.server.paths.root, "checkpoints"));

  test("is an archive of what checkpointctl knows, for root alone, of a container that runs on", async () => {
    const cmd = ["sh", "-c", "echo mine >/written"];
    await node.cri.call("ExecSync", { containerId: one.containerId, cmd });
    const location = join(folder, "good.tar");
    await write(location);
    await assertRuns();
    assert.equal((await stat(location)).mode & 0o777, 0o600);
    const { stdout: names } = await run("tar", ["--list", `--file=${location}`]);
    assert.deepEqual(names.trim().split("\n").sort(), [
      "checkpoint/",
      "checkpoint/pages-1.img",
      "config.dump",
      "rootfs-diff.tar",
      "spec.dump",
    ]);
    await mkdir(join(folder, "good"));
    await run("tar", ["--extract", `--file=${location}`, `--directory=${join(folder, "good")}`]);
    const config = JSON.parse(await readFile(join(folder, "good/config.dump"), "utf8"));
    assert.deepEqual([config.id, config.name, config.runtime], [one.containerId, "checkpointed", "crun"]);
    const spec = JSON.parse(await readFile(join(folder, "good/spec.dump"), "utf8"));
    assert.equal(spec.process.args[0], "sh");
    const diff = await run("tar", ["--list", `--file=${join(folder, "good/rootfs-diff.tar")}`]);
    assert.match(diff.stdout, /^\.\/written$/m);
    assert.deepEqual(await unfinished(), []);
  });

  test("on another file system is there whole or not at all", async () => {
    const location = "/dev/shm/nacelle-checkpoint.tar";
    await write(location);
    await run("tar", ["--list", `--file=${location}`]);
    assert.equal((await stat(location)).mode & 0o777, 0o600);
    await run("rm", [location]);
    assert.deepEqual(
      (await readdir("/dev/shm")).filter((name) => name.includes("nacelle")),
      [],
    );
  });

  test("replaces a symbolic link and does not follow it", async () => {
    const victim = join(folder, "victim");
    await writeFile(victim, "untouched");
    await symlink(victim, join(folder, "link.tar"));
    await write(join(folder, "link.tar"));
    assert.equal(await readFile(victim, "utf8"), "untouched");
    assert.ok((await stat(join(folder, "link.tar"))).size > 1000);
  });

  test("is refused where no file can be made", async () => {
    await symlink(folder, join(folder, "way"));
    await mkdir(join(folder, "directory"));
    for (const [name, message] of [
      ["none/one.tar", /none is not a directory/],
      ["way/one.tar", /is reached through a symbolic link: name it as/],
      ["victim/one.tar", /victim is not a directory/],
    ] as const) {
      await assert.rejects(write(join(folder, name)), { code: status.INVALID_ARGUMENT });
      await assert.rejects(write(join(folder, name)), message);
    }
    await assert.rejects(write(join(folder, "directory")), /EISDIR/);
    assert.deepEqual(await unfinished(), []);
  });

  test("that fails says why, leaves no file, and the container runs on", async () => {
    await criu.does("fail");
    const location = join(folder, "failed.tar");
    await assert.rejects(write(location), /INTERNAL.*criu failed: type DUMP errno 1/);
    assert.ok(!(await exists(location)));
    assert.deepEqual(await unfinished(), []);
    await assertRuns();
  });

  test("that takes too long ends, leaves no file, and the container runs on", async () => {
    await criu.does("hang");
    const location = join(folder, "late.tar");
    await assert.rejects(write(location, "1"), { code: status.DEADLINE_EXCEEDED });
    assert.ok(!(await exists(location)));
    assert.deepEqual(await unfinished(), []);
    await assertRuns();
  });

  test("whose archive takes longer than the client allows ends, and leaves no file", async () => {
    await criu.archives("exec sleep 1000");
    const location = join(folder, "slow.tar");
    await assert.rejects(write(location, "2"), { code: status.DEADLINE_EXCEEDED });
    await criu.archives('exec /bin/tar "$@"');
    assert.ok(!(await exists(location)));
    assert.deepEqual(await unfinished(), []);
    await assertRuns();
  });

  test("that hangs does not keep its container from being stopped", async () => {
    const other = await pod(node, "stopped", { handler: "crun" });
    await criu.does("hang");
    const location = join(folder, "stopped.tar");
    const cut = assert.rejects(write(location, "600", other.containerId));
    await appeared(criu.begun, AbortSignal.timeout(20_000));
    await node.cri.call("StopContainer", { containerId: other.containerId, timeout: "0" }, { deadlineMs: 30_000 });
    await node.server.kill();
    await cut;
    await node.server.restart();
    await removePod(node, other);
  });

  test("that was cut short with the server leaves nothing, and the container runs on", async () => {
    await criu.does("hang");
    const location = join(folder, "cut.tar");
    const cut = assert.rejects(write(location));
    await appeared(criu.begun, AbortSignal.timeout(20_000));
    await node.server.kill();
    await cut;
    await node.server.restart();
    // Freed in the background; the server has no event for it.
    await until("what was not finished is freed", async () => (await unfinished()).length === 0);
    assert.ok(!(await exists(location)));
    await assertRuns();
  });

  test("needs a criu that works here, in its own words, and a runtime that knows it", async () => {
    await criu.checks(1, "Error (criu/vdso.c:381): vdso: Unexpected rt vDSO area bounds");
    await assert.rejects(write(join(folder, "no.tar")), { code: status.FAILED_PRECONDITION });
    await assert.rejects(write(join(folder, "no.tar")), /criu cannot work here.*vdso.*install a criu/);
    await criu.checks(0, "Looks good.");
  });

  test("is of a container that runs", async () => {
    const other = await pod(node, "created", { handler: "crun", created: true });
    const created = write(join(folder, "no.tar"), "5", other.containerId);
    await assert.rejects(created, { code: status.FAILED_PRECONDITION });
    await removePod(node, other);
    await assert.rejects(write(join(folder, "no.tar"), "5", "f".repeat(64)), { code: status.NOT_FOUND });
  });

  test("is nothing that a container is made from, whatever an image or an annotation says", async () => {
    const archive = join(folder, "restore.tar");
    await write(archive);
    const config = sandboxConfig("restored");
    const { podSandboxId } = await node.cri.call("RunPodSandbox", { config, runtimeHandler: "crun" });
    const asked = containerConfig("restored");
    const create = (more: object) =>
      node.cri.call("CreateContainer", { podSandboxId, sandboxConfig: config, config: { ...asked, ...more } });
    await assert.rejects(create({ image: { image: archive } }), /INVALID_ARGUMENT|NOT_FOUND/);
    const annotations = {
      "io.kubernetes.cri-o.annotations.checkpoint.name": archive,
      "org.criu.checkpoint.container.name": "checkpointed",
    };
    const { image } = containerConfig("restored") as { image: object };
    const { containerId } = await create({ annotations, image: { ...image, annotations } });
    await node.cri.call("StartContainer", { containerId });
    // Its own file system, not that of the checkpoint.
    const found = await node.cri.call("ExecSync", { containerId, cmd: ["test", "-e", "/written"] });
    assert.equal(found.exitCode, 1);
    await node.cri.call("StopPodSandbox", { podSandboxId });
    await node.cri.call("RemovePodSandbox", { podSandboxId });
  });
});

test("a checkpoint without criu, or with a runtime that knows none, says what is missing and what cures it", async () => {
  await using node = await TestNode.start();
  for (const handler of ["runc", "crun"]) {
    const one = await pod(node, `without-${handler}`, { handler });
    const location = join(node.server.paths.folder, "none.tar");
    const request = { containerId: one.containerId, location, timeout: "10" };
    await assert.rejects(node.cri.call("CheckpointContainer", request), (error: Error) => {
      assert.match(error.message, /FAILED_PRECONDITION: .*(install |use a runtime handler)/);
      return true;
    });
    assert.ok(!(await exists(location)));
    await removePod(node, one);
  }
  await node.assertCleanEnd();
});

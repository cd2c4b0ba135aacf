import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { type FileHandle, mkdir, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { promisify } from "node:util";
import { status } from "@grpc/grpc-js";
import { hasStatus } from "../harness/cri-client.ts";
import { containerConfig, sandboxConfig } from "../harness/cri-configs.ts";
import { stateRows } from "../harness/state-rows.ts";
import { TestNode } from "../harness/test-node.ts";
import { endOf } from "../harness/until.ts";

const run = promisify(execFile);

test("on a full disk nothing new is begun, ends are seen, and all can be stopped and removed", async () => {
  await using disk = await SmallDisk.mount();
  await using node = await TestNode.start({ settings: { root: disk.path } });
  const { cri } = node;
  const config = sandboxConfig("full");
  const { podSandboxId } = await cri.call("RunPodSandbox", { config });
  const create = async (name: string) => {
    const request = { podSandboxId, sandboxConfig: config, config: containerConfig(name) };
    return (await cri.call("CreateContainer", request)).containerId;
  };
  const ending = await create("ending");
  const stopping = await create("stopping");
  for (const containerId of [ending, stopping]) await cri.call("StartContainer", { containerId });

  const filler = await disk.fill();
  const refused = (error: unknown) => {
    assert.ok(hasStatus(error, status.RESOURCE_EXHAUSTED), String(error));
    assert.match(error.details, /full|space|ENOSPC/i);
    return true;
  };
  await assert.rejects(cri.call("RunPodSandbox", { config: sandboxConfig("refused") }), refused);
  await assert.rejects(create("refused"), refused);
  await cri.call("ExecSync", { containerId: ending, cmd: ["sh", "-c", "kill -TERM 1"], timeout: "10" });
  assert.equal((await endOf(cri, ending)).exitCode, 0);
  await cri.call("StopContainer", { containerId: stopping, timeout: "30" });
  const stopped = (await cri.call("ContainerStatus", { containerId: stopping })).status;
  assert.deepEqual([stopped.state, stopped.exitCode], ["CONTAINER_EXITED", 0]);
  await cri.call("RemoveContainer", { containerId: stopping });
  await cri.call("StopPodSandbox", { podSandboxId });
  await cri.call("RemovePodSandbox", { podSandboxId });
  assert.deepEqual((await cri.call("ListPodSandbox", {})).items, []);
  await node.assertClean();

  await rm(filler);
  await cri.call("RemovePodSandbox", await cri.call("RunPodSandbox", { config }));
  await node.assertClean();
  await node.server.stop();
  assert.deepEqual(await stateRows(disk.path), {});
});

/** A tmpfs that holds one image and little else. */
class SmallDisk implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async mount(): Promise<SmallDisk> {
    const folder = await mkdtemp(join(tmpdir(), "disk-"));
    const path = join(folder, "root");
    await mkdir(path);
    await run("mount", ["-t", "tmpfs", "-o", "size=64m,mode=700", "small", path]);
    return new SmallDisk(path);
  }

  /** Leaves not one block. Answers the file to delete. */
  async fill(): Promise<string> {
    const path = join(this.path, "filler");
    await using file: FileHandle = await open(path, "w");
    try {
      for (const size of [1 << 20, 4_096]) await writeUntilFull(file, Buffer.alloc(size));
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
    }
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run("umount", ["--lazy", this.path]);
    await rm(join(this.path, ".."), { recursive: true });
  }
}

async function writeUntilFull(file: FileHandle, block: Buffer): Promise<void> {
  for (;;) {
    const { bytesWritten } = await file.write(block);
    if (bytesWritten < block.length) return;
  }
}

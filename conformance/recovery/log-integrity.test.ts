import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open as openFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import test from "node:test";
import { promisify } from "node:util";
import { containerConfig } from "../harness/cri-configs.ts";
import { Pod } from "../harness/pod.ts";
import { TestNode } from "../harness/test-node.ts";
import { endOf, until } from "../harness/until.ts";

const run = promisify(execFile);
const lines = 150_000;
const parts = 3;

/** Each line has a number of its own, 100 bytes with its line feed. What opens a part's end waits until it is printed. */
const script = `for part in 0 1 2; do
  read -r _ </gates/begin-$part
  awk -v part=$part 'BEGIN { for (i = 0; i < ${lines}; i++) printf "%099d\\n", part * ${lines} + i }'
  read -r _ </gates/end-$part
done`;

test("a log is whole and in order, rotated all the time, and with the server killed amid it", async () => {
  await using node = await TestNode.start();
  const logs = await node.logDirectory("whole");
  const pod = await Pod.run(node, "whole", { logDirectory: logs });
  for (const part of [0, 1, 2]) await run("mkfifo", [join(logs, `begin-${part}`), join(logs, `end-${part}`)]);
  const open = (gate: string) => writeFile(join(logs, gate), "\n");
  /** Resolves when the container has come to the gate, with what lets it through. */
  const reached = async (gate: string) => {
    const file = await openFile(join(logs, gate), "w");
    return async () => {
      await file.writeFile("\n");
      await file.close();
    };
  };
  const mounts = [{ containerPath: "/gates", hostPath: logs }];
  const options = { command: ["sh", "-c", script], logPath: "0.log", mounts };
  const config = containerConfig("whole", options);
  const { containerId } = await node.cri.call("CreateContainer", { ...pod.sandbox, config });
  await node.cri.call("StartContainer", { containerId });
  const log = join(logs, "0.log");
  const files: string[] = [];
  const rotate = async () => {
    files.push(`${log}.${files.length}`);
    await rename(log, files.at(-1) ?? "");
    await node.cri.call("ReopenContainerLog", { containerId });
  };
  /** Rotates as fast as a new file is seen to grow, until a part has ended, or so often. */
  const rotateUntil = async (end: Promise<unknown>, most = Number.POSITIVE_INFINITY) => {
    let ended = false;
    const note = () => {
      ended = true;
    };
    end.then(note, note);
    for (let count = 0; count < most && !ended; count += 1) {
      await rotate();
      await until("the new file grows", async () => ended || (await stat(log)).size >= 1_000_000);
    }
  };

  await open("begin-0");
  const first = open("end-0");
  await rotateUntil(first, 8);
  const cut = rotate().catch(() => {}); // whether it was done is seen from the files
  await node.server.kill();
  await Promise.all([cut, first]);
  await open("begin-1");
  await open("end-1");
  await node.server.restart();
  await node.cri.call("ReopenContainerLog", { containerId });
  await open("begin-2");
  // One that has exited has no log that could be rotated.
  const end = reached("end-2");
  await rotateUntil(end);
  await (await end)();
  await endOf(node.cri, containerId);

  const expected = createHash("sha256");
  for (let i = 0; i < parts * lines; i++) expected.update(`${String(i).padStart(99, "0")}\n`);
  assert.equal(await payloadDigest([...files, log]), expected.digest("hex"));
  assert.ok(files.length >= 3, `${files.length} rotations`);
  await pod.remove();
  await node.assertCleanEnd();
});

/** Of the text of full records alone; fails on anything else. */
async function payloadDigest(files: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  for (const file of files) {
    for await (const line of createInterface(createReadStream(file))) {
      assert.match(line.slice(0, 40), /^[-\d]{10}T[\d:.]{18}Z stdout F $/, file);
      hash.update(`${line.slice(40)}\n`);
    }
  }
  return hash.digest("hex");
}

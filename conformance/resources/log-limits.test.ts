import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { status } from "@grpc/grpc-js";
import { ask } from "../cli/ask.ts";
import type { Message } from "../harness/cri-answers.ts";
import { Pod } from "../harness/pod.ts";
import { TestNode } from "../harness/test-node.ts";
import { endOf, until } from "../harness/until.ts";

const run = promisify(execFile);
const LINES = 10_000;
/** Of each line, with its line feed; and what stands before it in a log. */
const LINE = 100;
const RECORD = 40 + LINE;
const SOFT = 50_000;
const HARD = 100_000;
/** Prints numbered lines, and waits for nobody. */
const script = `awk 'BEGIN { for (i = 0; i < ${LINES}; i++) printf "%099d\\n", i }'`;

const prefix = "nacelle.dev/log-";
const annotated =
  (annotations: Readonly<Record<string, string>>) =>
  (config: Message): Message => ({ ...config, annotations });

describe("a node whose logs have limits", () => {
  let node: TestNode;
  before(async () => {
    const settings = { "logs.softLimit": String(SOFT), "logs.hardLimit": String(HARD), "log.format": "json" };
    node = await TestNode.start({ settings });
  });
  after(() => node[Symbol.asyncDispose]());

  it("drops what is above them, and says so once, with what was lost at the end", async (t) => {
    const logDirectory = await node.logDirectory("drop");
    const pod = await Pod.run(node, "drop", { logDirectory });
    t.after(() => pod.remove());
    const container = await pod.start("loud", { logPath: "0.log", command: ["sh", "-c", script] });
    await endOf(node.cri, container);
    const kept = Math.floor(HARD / RECORD);
    assert.deepEqual(await numbersOf(join(logDirectory, "0.log")), upTo(kept));
    const said = (await linesOf(node)).filter((line) => line["container"] === container);
    assert.deepEqual(
      said.map(({ msg, lostBytes, lostLines }) => [msg, lostBytes, lostLines]),
      [
        ["a container's log has reached its soft limit", undefined, undefined],
        [
          "a container's log has reached its hard limit: what it prints is dropped or waits, as the policy says",
          undefined,
          undefined,
        ],
        ["a container has ended whose log is not complete", String((LINES - kept) * LINE), String(LINES - kept)],
      ],
    );
    assert.match(String(said[0]?.["remedy"]), /containerLogMaxSize/);
    const { body: text } = await ask(join(node.server.paths.runDir, "admin.sock"), "/metrics");
    for (const limit of ["soft", "hard"])
      assert.match(text, new RegExp(`^nacelle_container_log_limits_total\\{limit="${limit}"\\} 1$`, "m"));
  });

  it("lets a pod ask for stricter ones: a container that is blocked goes on with the next file", async (t) => {
    const logDirectory = await node.logDirectory("block");
    // What is asked for one container is not for the others, and nothing lifts the node's own.
    const asked = { [`${prefix}hard-limit`]: "1Gi", [`${prefix}hard-limit.loud`]: "50k", [`${prefix}policy`]: "block" };
    const pod = await Pod.run(node, "block", { logDirectory }, annotated(asked));
    t.after(() => pod.remove());
    const command = ["sh", "-c", `${script}; read -r _ </gates/end`];
    await run("mkfifo", [join(logDirectory, "end")]);
    const mounts = [{ containerPath: "/gates", hostPath: logDirectory }];
    const containerId = await pod.start("loud", { logPath: "0.log", command, mounts });
    const log = join(logDirectory, "0.log");
    const files: string[] = [];
    for (let left = LINES * RECORD; left >= 50_000; ) {
      const size = await grown(log, 50_000);
      assert.ok(size < HARD, `${size} bytes`);
      left -= size;
      files.push(`${log}.${files.length}`);
      await rename(log, files.at(-1) ?? "");
      await node.cri.call("ReopenContainerLog", { containerId });
    }
    await writeFile(join(logDirectory, "end"), "\n");
    await endOf(node.cri, containerId);
    const numbers = await Promise.all([...files, log].map(numbersOf));
    assert.deepEqual(numbers.flat(), upTo(LINES));
  });

  it("refuses what is no limit by the name of the annotation, and leaves nothing", async () => {
    for (const [name, value] of [
      ["hard-limit", "much"],
      ["soft-limit.loud", "0"],
      ["policy", "rotate"],
    ] as const) {
      const pod = await Pod.run(node, "refused", {}, annotated({ [prefix + name]: value }));
      await assert.rejects(
        pod.create("loud"),
        (error: Error & { code?: number }) =>
          error.code === status.INVALID_ARGUMENT && error.message.includes(`annotation ${prefix}${name}: "${value}"`),
      );
      await pod.remove();
    }
    await node.assertClean();
  });
});

/** Of a file that becomes at least this large. */
async function grown(path: string, least: number): Promise<number> {
  let size = 0;
  await until(`${path} grows to ${least} bytes`, async () => {
    ({ size } = await stat(path));
    return size >= least;
  });
  return size;
}

async function numbersOf(path: string): Promise<number[]> {
  const records = (await readFile(path, "latin1")).split("\n").slice(0, -1);
  return records.map((record) => {
    assert.match(record, /^[-\d]{10}T[\d:.]{18}Z stdout F \d{99}$/);
    return Number(record.slice(40));
  });
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** What the server has said. */
async function linesOf(node: TestNode): Promise<Record<string, unknown>[]> {
  const lines = (await readFile(node.server.paths.log, "utf8")).split("\n");
  return lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
}

import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { parseExitRecord } from "../../src/monitor/record.ts";
import { containerConfig, type SandboxOptions } from "../harness/cri-configs.ts";
import { changedUntil, written } from "../harness/event.ts";
import { Pod } from "../harness/pod.ts";
import type { TestNode } from "../harness/test-node.ts";

const run = promisify(execFile);
const patienceMs = 30_000;

/** A pod that an earlier version's monitor holds, whose containers end when a gate is opened for them, server or none. */
export class OlderPod {
  readonly pod: Pod;
  readonly sandboxId: string;
  readonly logs: string;
  readonly #node: TestNode;
  readonly #pid: "CONTAINER" | "POD" | "NODE";

  private constructor(node: TestNode, pod: Pod, logs: string, { pid = "CONTAINER" }: SandboxOptions) {
    this.#node = node;
    this.#pid = pid;
    this.pod = pod;
    this.sandboxId = pod.sandbox.podSandboxId;
    this.logs = logs;
  }

  static async run(node: TestNode, name: string, options: SandboxOptions = {}): Promise<OlderPod> {
    const logDirectory = await node.logDirectory(name);
    return new OlderPod(node, await Pod.run(node, name, { ...options, logDirectory }), logDirectory, options);
  }

  /** Runs a script in a container; it has said "ready" in its log when this resolves. `more` is added to its configuration. */
  async start(name: string, script: string, more: object = {}): Promise<string> {
    const mounts = [{ containerPath: "/gates", hostPath: this.logs }];
    const command = ["sh", "-c", `echo ready; ${script}`];
    const options = { command, logPath: `${name}.log`, mounts, pid: this.#pid };
    const config = { ...containerConfig(name, options), ...more };
    const { containerId } = await this.#node.cri.call("CreateContainer", { ...this.pod.sandbox, config });
    await this.#node.cri.call("StartContainer", { containerId });
    await written(this.log(name), "ready", AbortSignal.timeout(patienceMs));
    return containerId;
  }

  /** A container that ends with this exit code when `open` is called with its name. */
  async startGated(name: string, exitCode: number): Promise<string> {
    await run("mkfifo", [join(this.logs, `${name}.gate`)]);
    return await this.start(name, `read -r _ </gates/${name}.gate; exit ${exitCode}`);
  }

  /** Lets a gated container end, and resolves when its monitor has recorded that. */
  async open(name: string, containerId: string): Promise<void> {
    await writeFile(join(this.logs, `${name}.gate`), "\n");
    const record = join(this.#node.server.paths.runDir, "p", this.sandboxId, `${containerId}.exit`);
    const isRecorded = async () => parseExitRecord(await readFile(record))?.state === "exited";
    await changedUntil(record, isRecorded, AbortSignal.timeout(patienceMs));
  }

  log(name: string): string {
    return join(this.logs, `${name}.log`);
  }
}

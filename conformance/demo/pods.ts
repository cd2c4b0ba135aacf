import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Answers, Message } from "../harness/cri-answers.ts";
import type { CriClient } from "../harness/cri-client.ts";
import { type ContainerOptions, containerConfig, sandboxConfig } from "../harness/cri-configs.ts";
import { written } from "../harness/event.ts";

const run = promisify(execFile);
const waitMs = 20_000;

/** The cgroup parent of the demo's pods; making and removing it is a kubelet's part, so the demo's. */
export const cgroupParent = "/nacelle-demo";

/** A pod as the demo asked for it. */
export interface Pod {
  readonly name: string;
  readonly handler: string;
  readonly config: Message;
  readonly id: string;
  readonly ip: string;
  readonly logs: string;
}

/** How a command in a container ended, as text. */
export interface Executed {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

/** Pods over CRI as a kubelet makes them, in one folder. Every answer is checked before it is believed. */
export class Pods {
  readonly #cri: CriClient;
  readonly #folder: string;

  constructor(cri: CriClient, folder: string) {
    this.#cri = cri;
    this.#folder = folder;
  }

  /** What RunPodSandbox is asked for; the same values each time it is called. */
  async request(name: string, handler: string): Promise<Message> {
    const logDirectory = this.#logs(name);
    await mkdir(logDirectory, { recursive: true });
    return { config: sandboxConfig(name, { logDirectory, cgroupParent }), runtimeHandler: handler };
  }

  /** Runs a pod and resolves when it is listed as ready under its handler, with an address. */
  async run(name: string, handler: string): Promise<Pod> {
    const request = await this.request(name, handler);
    const { podSandboxId: id } = await this.#cri.call("RunPodSandbox", request);
    assert.match(id, /^[0-9a-f]{64}$/);
    const { status } = await this.#cri.call("PodSandboxStatus", { podSandboxId: id });
    assert.equal(status.state, "SANDBOX_READY");
    assert.equal("runtimeHandler" in status && status.runtimeHandler, handler);
    const ip = status.network?.ip ?? "";
    assert.match(ip, /^10\.88\.\d+\.\d+$/);
    return { name, handler, config: request.config as Message, id, ip, logs: this.#logs(name) };
  }

  /** Creates and starts a container and resolves with its id when it is listed as running. */
  async start(pod: Pod, name: string, options: ContainerOptions): Promise<string> {
    const config = containerConfig(name, { envs: [], command: [], ...options, logPath: `${name}.log` });
    const request = { podSandboxId: pod.id, config, sandboxConfig: pod.config };
    const { containerId } = await this.#cri.call("CreateContainer", request);
    await this.#cri.call("StartContainer", { containerId });
    assert.notEqual((await this.status(containerId)).state, "CONTAINER_CREATED");
    return containerId;
  }

  async status(containerId: string): Promise<Answers["ContainerStatus"]["status"]> {
    return (await this.#cri.call("ContainerStatus", { containerId })).status;
  }

  /** The process that a running container began with, as this PID namespace counts. */
  async pid(containerId: string): Promise<number> {
    const { info } = await this.#cri.call("ContainerStatus", { containerId, verbose: true });
    const { pid }: { pid: number } = JSON.parse(info.info ?? "{}");
    assert.ok(pid > 1, "a running container has a process");
    return pid;
  }

  async exec(containerId: string, ...cmd: string[]): Promise<Executed> {
    const { stdout, stderr, exitCode } = await this.#cri.call("ExecSync", { containerId, cmd, timeout: "10" });
    return { stdout: stdout.toString(), stderr: stderr.toString(), exitCode };
  }

  /** Stops a container and resolves with its exit code. */
  async stop(containerId: string): Promise<number> {
    await this.#cri.call("StopContainer", { containerId, timeout: "10" });
    const { state, exitCode } = await this.status(containerId);
    assert.equal(state, "CONTAINER_EXITED");
    return exitCode;
  }

  /** Stops and removes a pod with all that is in it. */
  async remove(podSandboxId: string): Promise<void> {
    await this.#cri.call("StopPodSandbox", { podSandboxId });
    await this.#cri.call("RemovePodSandbox", { podSandboxId });
  }

  /** A container's log once it holds `text`, as it is on disk. */
  async log(pod: Pod, container: string, text: string): Promise<string> {
    const path = join(pod.logs, `${container}.log`);
    await written(path, text, AbortSignal.timeout(waitMs));
    return await readFile(path, "utf8");
  }

  #logs(name: string): string {
    return join(this.#folder, "logs", name);
  }
}

/** A FIFO on the host that a container reads from: what is sent arrives exactly once, with no server in between. */
export class Signal {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async make(folder: string): Promise<Signal> {
    await mkdir(folder);
    await run("mkfifo", [join(folder, "fifo")]);
    return new Signal(folder);
  }

  /** Waits until the container reads. */
  async send(line: string): Promise<void> {
    await using fifo = await open(join(this.folder, "fifo"), "w");
    await fifo.write(`${line}\n`);
  }
}

/** Fetches a page by HTTP; until a server that was only just started listens, connections are refused at once. */
export async function page(url: string): Promise<string> {
  const deadline = AbortSignal.timeout(waitMs);
  for (;;) {
    try {
      const response = await fetch(url, { headers: { connection: "close" }, signal: deadline });
      assert.equal(response.status, 200);
      return await response.text();
    } catch (error) {
      if (deadline.aborted || !(error instanceof TypeError)) throw error;
    }
  }
}

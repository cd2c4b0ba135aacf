import assert from "node:assert/strict";
import type { Message } from "./cri-answers.ts";
import { type ContainerOptions, containerConfig, type SandboxOptions, sandboxConfig } from "./cri-configs.ts";
import type { TestNode } from "./test-node.ts";

/** One sandbox of a test, and the containers that it is asked to have. */
export class Pod {
  readonly #node: TestNode;
  readonly sandbox: Message & { readonly podSandboxId: string };

  private constructor(node: TestNode, sandbox: Message & { readonly podSandboxId: string }) {
    this.#node = node;
    this.sandbox = sandbox;
  }

  /** `change` may turn the configuration into what no kubelet sends. */
  static async run(
    node: TestNode,
    name: string,
    options: SandboxOptions & { readonly runtime?: string } = {},
    change: (config: Message) => Message = (config) => config,
  ): Promise<Pod> {
    const config = change(sandboxConfig(name, options));
    const runtimeHandler = options.runtime ?? "";
    const { podSandboxId } = await node.cri.call("RunPodSandbox", { config, runtimeHandler });
    return new Pod(node, { podSandboxId, sandboxConfig: config });
  }

  /** A created container's id. */
  async create(name: string, options: ContainerOptions = {}): Promise<string> {
    const request = { ...this.sandbox, config: containerConfig(name, options) };
    return (await this.#node.cri.call("CreateContainer", request)).containerId;
  }

  /** A running container's id. */
  async start(name: string, options: ContainerOptions = {}): Promise<string> {
    const containerId = await this.create(name, options);
    await this.#node.cri.call("StartContainer", { containerId });
    return containerId;
  }

  /** What a script prints in a container, both streams; it must succeed. */
  async shell(containerId: string, script: string): Promise<string> {
    const { output, exitCode } = await this.attempt(containerId, script);
    assert.equal(exitCode, 0, `${script}: ${output}`);
    return output;
  }

  async attempt(containerId: string, script: string): Promise<{ readonly output: string; readonly exitCode: number }> {
    const cmd = ["sh", "-c", script];
    const { stdout, stderr, exitCode } = await this.#node.cri.call("ExecSync", { containerId, cmd, timeout: "30" });
    return { output: `${stdout}${stderr}`, exitCode };
  }

  /** Stops and removes it with all of its containers. */
  async remove(): Promise<void> {
    await this.#node.cri.call("StopPodSandbox", this.sandbox);
    await this.#node.cri.call("RemovePodSandbox", this.sandbox);
  }
}

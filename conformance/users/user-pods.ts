import assert from "node:assert/strict";
import { type ContainerOptions, containerConfig, type SandboxOptions, sandboxConfig } from "../harness/cri-configs.ts";
import type { TestNode } from "../harness/test-node.ts";

/** Pods whose ids are their own, on a node whose handler can give them. */
export class UserPods {
  readonly #node: TestNode;
  readonly #handler: string;

  constructor(node: TestNode, handler: string) {
    this.#node = node;
    this.#handler = handler;
  }

  async run(name: string, options: SandboxOptions): Promise<string> {
    const request = { config: sandboxConfig(name, options), runtimeHandler: this.#handler };
    return (await this.#node.cri.call("RunPodSandbox", request)).podSandboxId;
  }

  async create(podSandboxId: string, name: string, options: ContainerOptions): Promise<string> {
    const request = { podSandboxId, config: containerConfig(name, options), sandboxConfig: null };
    return (await this.#node.cri.call("CreateContainer", request)).containerId;
  }

  async start(podSandboxId: string, name: string, options: ContainerOptions): Promise<string> {
    const containerId = await this.create(podSandboxId, name, options);
    await this.#node.cri.call("StartContainer", { containerId });
    return containerId;
  }

  /** What a script prints that ends with 0, without white space around it. */
  async sh(containerId: string, script: string): Promise<string> {
    const answer = await this.#node.cri.call("ExecSync", { containerId, cmd: ["sh", "-ec", script] });
    assert.equal(answer.exitCode, 0, String(answer.stderr));
    return String(answer.stdout).trim();
  }

  async remove(podSandboxId: string): Promise<void> {
    await this.#node.cri.call("RemovePodSandbox", { podSandboxId });
  }
}

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import test from "node:test";
import { nacelle } from "../cli/nacelle.ts";
import { containerConfig, sandboxConfig } from "../harness/cri-configs.ts";
import { TestNode } from "../harness/test-node.ts";
import { skipWithoutTools, tool } from "../harness/tools.ts";

interface Event {
  readonly containerId: string;
  readonly containerEventType: string;
}

test("crictl events prints what happens, as it happens", { skip: skipWithoutTools }, async (t) => {
  await using node = await TestNode.start({ defaultRuntime: "crun" });
  const args = [`--runtime-endpoint=${node.server.endpoint}`, "events", "--output=json"];
  const crictl = spawn(tool("crictl"), args, { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => crictl.kill());
  const lines = createInterface(crictl.stdout)[Symbol.asyncIterator]();
  /** An indented JSON text: it ends with the first brace at a line's beginning. */
  const next = async (): Promise<Event> => {
    const text: string[] = [];
    while (text.at(-1) !== "}") text.push((await lines.next()).value ?? "");
    return JSON.parse(text.join("\n"));
  };

  await listening(node);
  const config = sandboxConfig("watched");
  const { podSandboxId } = await node.cri.call("RunPodSandbox", { config });
  const container = containerConfig("c", { command: ["true"] });
  const { containerId } = await node.cri.call("CreateContainer", { podSandboxId, config: container });
  await node.cri.call("StartContainer", { containerId });
  const told: (readonly string[])[] = [];
  while (told.length < 5) {
    const { containerId: id, containerEventType } = await next();
    told.push([id, containerEventType]);
  }
  assert.deepEqual(told, [
    [podSandboxId, "CONTAINER_CREATED_EVENT"],
    [podSandboxId, "CONTAINER_STARTED_EVENT"],
    [containerId, "CONTAINER_CREATED_EVENT"],
    [containerId, "CONTAINER_STARTED_EVENT"],
    [containerId, "CONTAINER_STOPPED_EVENT"],
  ]);
  await node.cri.call("StopPodSandbox", { podSandboxId });
  await node.cri.call("RemovePodSandbox", { podSandboxId });
});

/** crictl does not say when it listens, and nothing tells of it: the server is asked again and again. */
async function listening({ server }: TestNode): Promise<void> {
  const deadline = AbortSignal.timeout(30_000);
  for (;;) {
    const { out } = await nacelle(server.paths, "status", "-o", "json");
    if (JSON.parse(out).eventClients === 1) return;
    deadline.throwIfAborted();
  }
}

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { until } from "../harness/until.ts";
import { ServerError } from "./server-error.ts";

/** How the pod's life reaches the server, which may be dead at any moment. */
export interface Node {
  /** One call; rejects with a `ServerError`. */
  call<Answer>(method: string, request: object): Promise<Answer>;
  /** Called after a call has failed: resolves when the server answers again. */
  revive(): Promise<void>;
}

export interface Pod {
  readonly name: string;
  readonly handler: string;
  readonly image: string;
  readonly logDirectory: string;
  /** NamespaceMode of the PID namespace: 0 shared (with a pause process), 1 one per container. */
  readonly pid: 0 | 1;
  /** The host's id of its root: it has a user namespace. */
  readonly firstId?: number;
}

/** How a container ended, as its status told. */
export interface Ended {
  readonly container: string;
  readonly exitCode: number;
  readonly reason: string;
}

interface Status {
  readonly state: string;
  readonly exitCode: number;
  readonly reason: string;
  readonly startedAt: string;
}

/** The sandbox is not ready any more: a kubelet makes the next one. */
class SandboxLost extends Error {}

/** What no killed process may make the server say: a kubelet would give the request up, or raise the attempt. */
const FINAL = new Set([
  "INVALID_ARGUMENT",
  "ALREADY_EXISTS",
  "UNIMPLEMENTED",
  "NOT_FOUND",
  "OUT_OF_RANGE",
  "DATA_LOSS",
]);
const TRIES = 60;
const WAIT_MS = 20_000;
const READY = "ready for the end";

/** Two containers: one ends by itself with 7, one with 42 when it is asked to. */
const COMMANDS: Readonly<Record<string, string>> = {
  quick: "exit 7",
  slow: `trap 'exit 42' TERM; echo ${READY}; while :; do sleep 0.05; done`,
};

/**
 * A pod from RunPodSandbox to RemovePodSandbox as a kubelet drives it: every failed call is repeated as it was, and a
 * lost sandbox is followed by one with the next attempt. Resolves with how each container ended.
 */
export async function livePod(node: Node, pod: Pod): Promise<readonly Ended[]> {
  const sandboxes: string[] = [];
  const ended: Ended[] = [];
  for (let attempt = 0; ; attempt++) {
    assert.ok(attempt < 5, `five sandboxes of ${pod.name} were lost`);
    const sandbox = await repeat(node, () => runSandbox(node, pod, attempt));
    sandboxes.push(sandbox);
    try {
      await liveIn(node, pod, sandbox, attempt, ended);
      break;
    } catch (error) {
      if (!(error instanceof SandboxLost)) throw error;
      await repeat(node, () => node.call("StopPodSandbox", { podSandboxId: sandbox }));
    }
  }
  for (const podSandboxId of sandboxes) {
    await repeat(node, () => node.call("StopPodSandbox", { podSandboxId }));
    await repeat(node, () => node.call("RemovePodSandbox", { podSandboxId }));
  }
  return ended;
}

async function liveIn(node: Node, pod: Pod, sandbox: string, attempt: number, ended: Ended[]): Promise<void> {
  const slow = await createAndStart(node, pod, sandbox, attempt, "slow");
  const quick = await createAndStart(node, pod, sandbox, attempt, "quick");
  ended.push({ container: "quick", ...(await endOf(node, quick)) });
  await isReady(node, pod, slow);
  await repeat(node, () => node.call("StopContainer", { containerId: slow, timeout: "10" }));
  ended.push({ container: "slow", ...(await endOf(node, slow)) });
}

async function createAndStart(node: Node, pod: Pod, sandbox: string, attempt: number, name: string): Promise<string> {
  const container = await repeatIn(node, sandbox, () => createContainer(node, pod, sandbox, attempt, name));
  await repeatIn(node, sandbox, () => start(node, container));
  return container;
}

/** A kubelet looks at a container whose start has failed before it does anything: it may have run, and be over. */
async function start(node: Node, containerId: string): Promise<void> {
  try {
    await node.call("StartContainer", { containerId });
  } catch (error) {
    if (!(error instanceof ServerError) || error.code !== "FAILED_PRECONDITION") throw error;
    const { state, startedAt } = await statusOf(node, containerId);
    if (state !== "CONTAINER_EXITED" || startedAt === "0") throw error;
  }
}

async function runSandbox(node: Node, pod: Pod, attempt: number): Promise<string> {
  const config = sandboxOf(pod, attempt);
  const { podSandboxId } = await node.call<{ podSandboxId: string }>("RunPodSandbox", {
    config,
    runtimeHandler: pod.handler,
  });
  return podSandboxId;
}

async function createContainer(node: Node, pod: Pod, sandbox: string, attempt: number, name: string): Promise<string> {
  const config = {
    metadata: { name },
    image: { image: pod.image },
    command: ["/bin/sh", "-c", COMMANDS[name]],
    // Of an image, so that there is a mount more to be found again, and an image to be held.
    mounts: [{ containerPath: "/image", image: { image: pod.image }, imageSubPath: "bin", readonly: true }],
    logPath: `${name}.log`,
    linux: { securityContext: { namespaceOptions: namespacesOf(pod) } },
  };
  const request = { podSandboxId: sandbox, config, sandboxConfig: sandboxOf(pod, attempt) };
  return (await node.call<{ containerId: string }>("CreateContainer", request)).containerId;
}

function sandboxOf(pod: Pod, attempt: number): object {
  return {
    metadata: { name: pod.name, uid: `uid-${pod.name}`, namespace: "faults", attempt },
    hostname: pod.name,
    logDirectory: join(pod.logDirectory, pod.name),
    linux: { securityContext: { namespaceOptions: namespacesOf(pod) } },
  };
}

function namespacesOf({ pid, firstId }: Pod): object {
  if (firstId === undefined) return { pid };
  const ids = [{ containerId: 0, hostId: firstId, length: 65_536 }];
  return { pid, usernsOptions: { mode: 0, uids: ids, gids: ids } };
}

/** Waits until it has set its trap: a PID 1 that is asked to end before that does not hear it. */
async function isReady(node: Node, pod: Pod, container: string): Promise<void> {
  const log = join(pod.logDirectory, pod.name, "slow.log");
  await until(
    `${container} writes to its log`,
    async () => {
      const text = await readFile(log, "utf8").catch(() => "");
      return text.includes(READY) || (await statusOf(node, container)).state !== "CONTAINER_RUNNING";
    },
    WAIT_MS,
  );
}

async function endOf(node: Node, container: string): Promise<{ exitCode: number; reason: string }> {
  let status: Status | undefined;
  await until(
    `${container} ends`,
    async () => {
      status = await statusOf(node, container);
      return status.state === "CONTAINER_EXITED" || status.state === "CONTAINER_UNKNOWN";
    },
    WAIT_MS,
  );
  assert.ok(status);
  return { exitCode: status.exitCode, reason: status.reason };
}

async function statusOf(node: Node, containerId: string): Promise<Status> {
  const { status } = await repeat(node, () => node.call<{ status: Status }>("ContainerStatus", { containerId }));
  return status;
}

/** As `repeat`, but gives the sandbox up when it is no longer ready. */
async function repeatIn<Answer>(node: Node, podSandboxId: string, call: () => Promise<Answer>): Promise<Answer> {
  return repeat(node, call, async () => {
    const { status } = await repeat(node, () =>
      node.call<{ status: { state: string } }>("PodSandboxStatus", { podSandboxId }),
    );
    if (status.state !== "SANDBOX_READY") throw new SandboxLost();
  });
}

async function repeat<Answer>(
  node: Node,
  call: () => Promise<Answer>,
  check: () => Promise<void> = async () => {},
): Promise<Answer> {
  let last: unknown;
  for (let tries = 0; tries < TRIES; tries++) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof ServerError) || FINAL.has(error.code)) throw error;
      last = error;
    }
    await node.revive();
    await check();
  }
  throw last;
}

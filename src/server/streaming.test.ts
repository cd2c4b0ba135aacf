import assert from "node:assert/strict";
import { it } from "node:test";
import { status } from "@grpc/grpc-js";
import { type Connection, connect, FakeNode, failure } from "./server.fixture.ts";

async function container(client: Connection): Promise<{ readonly podSandboxId: string; readonly containerId: string }> {
  const config = { metadata: { name: "p", uid: "u", namespace: "n" }, linux: { securityContext: {} } };
  const { podSandboxId } = await client.ask.RunPodSandbox({ config });
  const created = { metadata: { name: "c" }, image: { image: "busybox" }, linux: { securityContext: {} } };
  const { containerId } = await client.ask.CreateContainer({ podSandboxId, config: created, sandboxConfig: config });
  return { podSandboxId, containerId };
}

it("gives URLs for what was asked, with whole ids", async () => {
  const node = new FakeNode();
  await using client = await connect(node);
  const { podSandboxId, containerId } = await container(client);
  await client.ask.StartContainer({ containerId });
  const streams = { stdin: true, stdout: true, stderr: false, tty: true };
  const exec = await client.ask.Exec({ containerId: containerId.slice(0, 8), cmd: ["sh", "-c", "é"], ...streams });
  assert.equal(exec.url, "http://127.0.0.1:1/exec/token");
  await client.ask.Attach({ containerId, stdout: true, stderr: true });
  await client.ask.PortForward({ podSandboxId: podSandboxId.slice(0, 8), port: [80, 65_535] });
  assert.deepEqual(node.asked, [
    { kind: "exec", request: { containerId, command: ["sh", "-c", "é"], ...streams } },
    { kind: "attach", request: { containerId, stdin: false, stdout: true, stderr: true, tty: false } },
    { kind: "portforward", sandboxId: podSandboxId, ports: [80, 65_535] },
  ]);
});

it("refuses a terminal with stderr, and a call without streams", async () => {
  await using client = await connect();
  const { containerId } = await container(client);
  await client.ask.StartContainer({ containerId });
  for (const [streams, field] of [
    [{ stdout: true, stderr: true, tty: true }, /^stderr /],
    [{ tty: true }, /^stdin /],
  ] as const) {
    for (const call of [
      client.ask.Exec({ containerId, cmd: ["sh"], ...streams }),
      client.ask.Attach({ containerId, ...streams }),
    ]) {
      const error = await failure(call);
      assert.equal(error.code, status.INVALID_ARGUMENT);
      assert.match(error.details, field);
    }
  }
});

it("executes in what runs, attaches to what was created, forwards to what is ready", async () => {
  const node = new FakeNode();
  await using client = await connect(node);
  const { podSandboxId, containerId } = await container(client);
  const early = await failure(client.ask.Exec({ containerId, cmd: ["sh"], stdout: true }));
  assert.equal(early.code, status.FAILED_PRECONDITION);
  await client.ask.Attach({ containerId, stdout: true });
  const now = Temporal.Now.instant();
  const ended = {
    phase: "exited",
    startedAt: now,
    finishedAt: now,
    exitCode: 0,
    reason: "Completed",
    message: "",
  } as const;
  node.setState(containerId, ended);
  const late = await failure(client.ask.Attach({ containerId, stdout: true }));
  assert.equal(late.code, status.FAILED_PRECONDITION);
  await client.ask.StopPodSandbox({ podSandboxId });
  const gone = await failure(client.ask.PortForward({ podSandboxId }));
  assert.equal(gone.code, status.FAILED_PRECONDITION);
  assert.match(gone.details, /not ready/);
});

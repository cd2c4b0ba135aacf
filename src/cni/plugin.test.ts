import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Operations, RunRequest, RunResult } from "../launcher/operations.ts";
import { DomainError } from "../lib/errors.ts";
import { formatLimit, type PluginCall, pluginStdin, runPlugin } from "./plugin.ts";

const call: PluginCall = {
  command: "ADD",
  type: "bridge",
  path: "/opt/cni/bin/bridge",
  binDirs: ["/opt/cni/bin", "/usr/lib/cni"],
  containerId: "ab12",
  netnsPath: "/run/netns/x",
  ifName: "eth0",
  args: "IgnoreUnknown=1",
  stdin: { name: "net" },
};
const limits = { owner: "ab12", deadlineMs: 180_000 };

function answering(result: Partial<Omit<RunResult, "stdout" | "stderr">> & { stdout?: string; stderr?: string }) {
  const requests: RunRequest[] = [];
  const { stdout = "", stderr = "", ...rest } = result;
  const whole = { outcome: "exited", status: 0, truncated: false, ...rest } as const;
  const operations: Operations = {
    run: (request) => {
      requests.push(request);
      return Promise.resolve({ ...whole, stdout: Buffer.from(stdout), stderr: Buffer.from(stderr) });
    },
    perform: () => Promise.reject(new Error("unused")),
  };
  return { operations, requests };
}

async function failureOf(operations: Operations, command: PluginCall["command"] = "ADD", signal?: AbortSignal) {
  const error: unknown = await runPlugin(operations, { ...call, command }, limits, signal).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof DomainError);
  return { kind: error.kind, message: error.message, cause: error.cause };
}

describe("runPlugin", () => {
  it("passes everything by the specification and nothing of the daemon's environment", async () => {
    const { operations, requests } = answering({ stdout: "{}" });
    assert.equal(await runPlugin(operations, call, limits), "{}");
    assert.deepEqual(requests, [
      {
        argv: ["/opt/cni/bin/bridge"],
        env: {
          CNI_COMMAND: "ADD",
          CNI_CONTAINERID: "ab12",
          CNI_NETNS: "/run/netns/x",
          CNI_IFNAME: "eth0",
          CNI_ARGS: "IgnoreUnknown=1",
          CNI_PATH: "/opt/cni/bin:/usr/lib/cni",
          PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        },
        stdin: Buffer.from('{"name":"net"}'),
        owner: "ab12",
        deadlineMs: 180_000,
        what: "CNI plugin bridge ADD",
      },
    ]);
  });

  const complaint = '{"cniVersion":"1.0.0","code":11,"msg":"no address","details":"range full"}';
  const cases: readonly (readonly [string, Parameters<typeof answering>[0], string])[] = [
    ["an error with all that it says", { status: 1, stdout: complaint }, "failed: no address: range full (code 11)"],
    ["an error in spite of exit code 0", { stdout: complaint }, "failed: no address: range full (code 11)"],
    ["an error without details", { status: 1, stdout: '{"code":7,"msg":"bad"}' }, "failed: bad (code 7)"],
    [
      "an error without a message by what it wrote to stderr",
      { status: 1, stdout: '{"code":100,"msg":""}', stderr: "panic: oops\n" },
      'failed: no message, stderr: "panic: oops" (code 100)',
    ],
    [
      "a failure that is no JSON, quoted",
      { status: 2, stdout: "Segmentation\nfault", stderr: "core" },
      'failed: exit code 2, it printed "Segmentation\\nfault", stderr: "core"',
    ],
    ["a silent failure", { status: 127 }, "failed: exit code 127"],
    ["a signal", { outcome: "signaled", status: 11 }, "was killed by signal 11"],
    [
      "an endless answer",
      { truncated: true, stdout: "y".repeat(1000) },
      `printed more than is accepted: "${"y".repeat(300)}…"`,
    ],
  ];
  for (const [what, result, message] of cases) {
    it(`reports ${what}`, async () => {
      const { kind, message: said } = await failureOf(answering(result).operations);
      assert.deepEqual({ kind, said }, { kind: "unavailable", said: `CNI plugin bridge ADD ${message}` });
    });
  }

  it("names plugin, command and limit when there was no answer in time", async () => {
    const { operations } = answering({ outcome: "timedOut", stderr: "waiting for daemon" });
    const { kind, message } = await failureOf(operations, "DEL");
    assert.equal(kind, "deadlineExceeded");
    assert.equal(message, 'CNI plugin bridge DEL did not answer within 3m, stderr: "waiting for daemon"');
  });

  it("names the path of what could not be started", async () => {
    const run = () => Promise.reject(new Error("ENOENT: no such file or directory"));
    const { message } = await failureOf({ ...answering({}).operations, run });
    const said =
      "CNI plugin bridge ADD could not be started from /opt/cni/bin/bridge: ENOENT: no such file or directory";
    assert.equal(message, said);
  });

  it("tells a call that was given up from one that failed, and keeps the reason", async () => {
    const signal = AbortSignal.abort(new Error("client has gone"));
    const { message, cause } = await failureOf(answering({ outcome: "signaled", status: 9 }).operations, "ADD", signal);
    assert.equal(message, "CNI plugin bridge ADD was given up");
    assert.equal(cause, signal.reason);
  });

  it("cares for no output of a DEL that succeeds", async () => {
    assert.equal(await runPlugin(answering({ stdout: "bye" }).operations, { ...call, command: "DEL" }, limits), "bye");
  });
});

describe("pluginStdin", () => {
  const plugin = {
    type: "portmap",
    capabilities: ["portMappings"],
    ipamType: undefined,
    config: { type: "portmap", name: "stale", snat: true },
  };
  it("adds name, version, declared capabilities and the previous result to the plugin's own part", () => {
    const request = {
      networkName: "net",
      cniVersion: "1.0.0",
      capabilityArgs: { portMappings: [1], dns: {} },
      prevResult: { ips: [] },
    };
    assert.deepEqual(pluginStdin(plugin, request), {
      type: "portmap",
      snat: true,
      name: "net",
      cniVersion: "1.0.0",
      runtimeConfig: { portMappings: [1] },
      prevResult: { ips: [] },
    });
  });
  it("adds no empty keys", () => {
    const stdin = pluginStdin(plugin, { networkName: "net", cniVersion: "1.0.0", capabilityArgs: { dns: {} } });
    assert.deepEqual(stdin, { type: "portmap", snat: true, name: "net", cniVersion: "1.0.0" });
  });
});

describe("formatLimit", () => {
  it("is short and exact enough to be recognised", () => {
    const texts = [180_000, 90_000, 60_000, 30_000, 1_000, 450].map(formatLimit);
    assert.deepEqual(texts, ["3m", "1m30s", "1m", "30s", "1s", "0.5s"]);
  });
});

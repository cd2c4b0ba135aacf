import assert from "node:assert/strict";
import { it } from "node:test";
import type { Operations, RunRequest, RunResult } from "../launcher/operations.ts";
import { measured } from "../lib/measures.ts";
import { Stage } from "../lib/stage.ts";
import { MeasuredPlugins } from "./measured-plugins.ts";
import { Metrics } from "./metrics.ts";
import { MetricsServer } from "./metrics-server.ts";
import { processGauges } from "./node-gauges.ts";

it("calls, stages, layers and lost logs are counted, and numbers read when somebody asks", async () => {
  using metrics = new Metrics();
  metrics.call({ method: "Version", callId: "1", ms: 3, code: "OK" });
  metrics.call({ method: "Version", callId: "2", ms: 3, code: "NOT_FOUND", error: new Error() });
  metrics.call({ method: "GetContainerEvents", callId: "3", ms: 3_600_000, code: "CANCELLED", error: new Error() });
  const stage = new Stage("sandbox", "starting");
  stage.enter("waiting for the CNI plugins (ADD)");
  stage.end();
  measured({ kind: "layer", bytes: 1_000, seconds: 2 });
  measured({ kind: "logError" });
  measured({ kind: "logRecovered", lostBytes: 17, lostLines: 2 });
  measured({ kind: "logLimit", limit: "hard" });
  measured({ kind: "oomKills", count: 3 });
  let debts = 1;
  metrics.gauge("nacelle_network_debts", "Debts.", () => debts);
  metrics.gauge("nacelle_sandboxes", "Sandboxes.", () => Promise.resolve({ ready: 2, notReady: 0 }), "state");
  metrics.counter("nacelle_state_commits_total", "Commits.", () => 9);
  await metrics.read();
  debts = 5;
  const { text, contentType } = await metrics.read();
  assert.match(contentType, /^text\/plain/);
  for (const line of [
    'nacelle_rpc_total{method="Version",code="OK"} 1',
    'nacelle_rpc_total{method="Version",code="NOT_FOUND"} 1',
    'nacelle_rpc_total{method="GetContainerEvents",code="CANCELLED"} 1',
    'nacelle_rpc_duration_seconds_bucket{le="0.005",method="Version"} 2',
    'nacelle_creation_stage_duration_seconds_count{kind="sandbox",stage="starting"} 1',
    'nacelle_creation_stage_duration_seconds_count{kind="sandbox",stage="waiting for the CNI plugins (ADD)"} 1',
    "nacelle_image_layer_duration_seconds_sum 2",
    "nacelle_image_pulled_bytes_total 1000",
    "nacelle_container_log_errors_total 1",
    "nacelle_container_log_lost_bytes_total 17",
    "nacelle_container_log_lost_lines_total 2",
    'nacelle_container_log_limits_total{limit="hard"} 1',
    "nacelle_container_oom_kills_total 3",
    "nacelle_network_debts 5",
    'nacelle_sandboxes{state="ready"} 2',
    "nacelle_state_commits_total 9",
  ]) {
    assert.ok(text.split("\n").includes(line), `${line} is not in\n${text}`);
  }
  assert.doesNotMatch(text, /duration_seconds_count\{method="GetContainerEvents"/);
});

it("runs of plugins are measured by plugin and operation, and failures counted", async () => {
  using metrics = new Metrics();
  const done: RunResult = {
    ...{ outcome: "exited", status: 0, stdout: Buffer.alloc(0), stderr: Buffer.alloc(0), truncated: false },
  };
  const results: (RunResult | Error)[] = [done, { ...done, status: 1 }, new Error("it could not be started")];
  const operations = {
    run: async () => {
      const result = results.shift();
      if (result instanceof Error || result === undefined) throw result;
      return result;
    },
  } as unknown as Operations;
  const plugins = new MeasuredPlugins(operations, metrics);
  const request = { argv: ["/opt/cni/bin/bridge"], env: { CNI_COMMAND: "ADD" } } as unknown as RunRequest;
  await plugins.run(request);
  await plugins.run(request);
  await assert.rejects(plugins.run(request));
  const { text } = await metrics.read();
  assert.match(text, /nacelle_cni_plugin_duration_seconds_count\{plugin="bridge",operation="ADD"\} 3/);
  assert.match(text, /nacelle_cni_plugin_errors_total\{plugin="bridge",operation="ADD"\} 2/);
});

it("metrics over TCP are all that is served there", async () => {
  using metrics = new Metrics();
  using _process = processGauges(metrics);
  await using server = await MetricsServer.listen("127.0.0.1:0", () => metrics.read());
  const ask = (path: string, method = "GET") => fetch(`http://${server.address}${path}`, { method });
  const answer = await ask("/metrics?x=1");
  assert.match(await answer.text(), /^process_resident_memory_bytes \d{7,}$/m);
  for (const [path, method] of [
    ["/state", "GET"],
    ["/metrics", "POST"],
    ["/healthz", "GET"],
  ] as const) {
    assert.equal((await ask(path, method)).status, 404);
  }
  await assert.rejects(
    MetricsServer.listen(server.address, () => metrics.read()),
    {
      message: /^metrics\.listen: cannot listen on 127\.0\.0\.1:\d+: .*EADDRINUSE/,
    },
  );
  await assert.rejects(
    MetricsServer.listen("127.0.0.1:99999", () => metrics.read()),
    {
      message: /^metrics\.listen: cannot listen on 127\.0\.0\.1:99999: /,
    },
  );
});

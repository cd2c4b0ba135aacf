import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { MethodDefinition } from "@grpc/proto-loader";
import { loadServices } from "./descriptor.ts";
import { MessageEncoder } from "./message-encoder.ts";

const { runtime } = loadServices();

/** What protobufjs reads of what we write, and of what it writes itself. */
function compare(name: keyof typeof runtime, message: object): void {
  const method = runtime[name] as unknown as MethodDefinition<object, object>;
  const { name: type } = method.responseType.type as { readonly name: string };
  const ours = new MessageEncoder().for(type)(message);
  assert.deepEqual(method.responseDeserialize(ours), method.responseDeserialize(method.responseSerialize(message)));
}

describe("the encoder", () => {
  it("writes what protobufjs reads: texts, maps, nested messages, numbers of 64 bits, fractions, enumerations", () => {
    const line = { Total: 2 ** 53 - 1, Avg10: 0.1, Avg60: 99.99, Avg300: 0 };
    const cpu = {
      timestamp: "1795262400000000001",
      usageCoreNanoSeconds: { value: 0 },
      usageNanoCores: null,
      psi: { Full: line, Some: { Total: "18446744073709551615", Avg10: -1.5 } },
    };
    const labels = { "": "", é: "ü€𝄞", long: "x".repeat(20_000) };
    const attributes = { id: "c".repeat(64), metadata: { name: "n", attempt: 4_294_967_295 }, labels, annotations: {} };
    compare("ContainerStats", { stats: { attributes, cpu, memory: { timestamp: "-5" } } });
    compare("ListContainerStats", { stats: [] });
    compare("ListPodSandboxStats", { stats: [{ attributes: { id: "s" }, linux: { containers: [{ cpu }, {}] } }, {}] });
    const metric = { name: "m", timestamp: "1", metricType: "GAUGE", labelValues: ["", "a", ""], value: { value: 7 } };
    compare("ListPodSandboxMetrics", { podMetrics: [{ metrics: [metric, { ...metric, metricType: "COUNTER" }] }] });
    compare("ExecSync", { stdout: Buffer.from([0, 255, 1]), stderr: Buffer.alloc(0), exitCode: -1 });
    compare("Status", {
      status: { conditions: [{ type: "A", status: true, reason: "", message: "m" }] },
      info: { a: "b" },
    });
  });

  it("writes lengths of one byte and of several", () => {
    for (const length of [0, 1, 127, 128, 129, 16_383, 16_384, 2_097_151, 2_097_152]) {
      compare("Version", { version: "v".repeat(length), runtimeName: "n" });
    }
  });

  it("writes whatever numbers there are as protobufjs does", () => {
    for (let bit = 0; bit < 64; bit++) {
      for (const value of [2n ** BigInt(bit), 2n ** BigInt(bit) - 1n]) {
        compare("ContainerStats", { stats: { cpu: { usageCoreNanoSeconds: { value: String(value) } } } });
        if (value < 2n ** 53n)
          compare("ContainerStats", { stats: { cpu: { usageCoreNanoSeconds: { value: Number(value) } } } });
      }
    }
  });

  it("refuses what it does not know", () => {
    assert.throws(() => new MessageEncoder().for("Nothing"), /no message Nothing/);
    const encode = new MessageEncoder().for("ListPodSandboxMetricsResponse");
    assert.throws(() => encode({ podMetrics: [{ metrics: [{ metricType: "NO" }] }] }), /NO is no value/);
  });
});

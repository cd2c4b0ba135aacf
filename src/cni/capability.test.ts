import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type CapabilityRequest, capabilityArgs } from "./capability.ts";
import { parseNetworkList } from "./network-config.ts";

function argsFor(request: Partial<CapabilityRequest>, ...declared: readonly string[]) {
  const capabilities = Object.fromEntries(declared.map((name) => [name, true]));
  const plugins = [{ type: "a" }, { type: "b", capabilities }];
  const list = parseNetworkList(JSON.stringify({ cniVersion: "1.0.0", name: "net", plugins }));
  return capabilityArgs({ portMappings: [], annotations: {}, ...request }, list);
}
const port = { protocol: "tcp", containerPort: 80, hostPort: 8080, hostIp: "" } as const;

describe("capabilityArgs", () => {
  it("passes host ports as plugins expect them and leaves out those that need no host port", () => {
    const portMappings = [
      { ...port, hostIp: "127.0.0.1" },
      { ...port, hostPort: 0 },
      { ...port, protocol: "sctp", hostIp: "0.0.0.0" },
    ] as const;
    assert.deepEqual(argsFor({ portMappings }, "portMappings"), {
      args: {
        portMappings: [
          { hostPort: 8080, containerPort: 80, protocol: "tcp", hostIP: "127.0.0.1" },
          { hostPort: 8080, containerPort: 80, protocol: "sctp" },
        ],
      },
      notices: [],
    });
  });

  it("tells of host ports that no plugin maps", () => {
    assert.deepEqual(argsFor({ portMappings: [port] }), {
      args: {},
      notices: [
        'host ports 8080/tcp are not mapped: no plugin of CNI network "net" declares the portMappings capability',
      ],
    });
  });

  it("says nothing where nothing is asked for", () => {
    assert.deepEqual(argsFor({ portMappings: [{ ...port, hostPort: 0 }] }), { args: {}, notices: [] });
  });

  it("passes DNS settings where they are wanted", () => {
    const dns = { servers: ["10.0.0.10"], searches: ["svc"], options: ["ndots:5"] };
    assert.deepEqual(argsFor({ dns }, "dns").args, { dns });
    assert.deepEqual(argsFor({ dns }), { args: {}, notices: [] });
  });

  it("reads bandwidth from the sandbox's annotations", () => {
    const annotations = { "kubernetes.io/ingress-bandwidth": "10M", "kubernetes.io/egress-bandwidth": "1.5Mi" };
    assert.deepEqual(argsFor({ annotations }, "bandwidth").args, {
      bandwidth: { ingressRate: 10_000_000, ingressBurst: 2147483647, egressRate: 1572864, egressBurst: 2147483647 },
    });
  });

  for (const value of ["", "10", "fast", "1e9", "-1M", "2P", "10ki", "9".repeat(50)]) {
    it(`refuses the bandwidth ${JSON.stringify(value)} and names the annotation`, () => {
      const annotations = { "kubernetes.io/egress-bandwidth": value };
      assert.throws(
        () => argsFor({ annotations }, "bandwidth"),
        /^DomainError: annotation kubernetes.io\/egress-bandwidth: /,
      );
    });
  }

  it("passes ranges, aliases and an address of hardware to plugins that declare them", () => {
    const request = { ipRanges: [[{ subnet: "10.1.0.0/24" }]], aliases: ["web"], mac: "02:00:00:00:00:01" };
    assert.deepEqual(argsFor(request, "ipRanges", "aliases", "mac").args, request);
  });
});

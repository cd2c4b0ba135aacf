import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseNetDev } from "./net-dev.ts";

const heading = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
`;

describe("/proc/net/dev", () => {
  it("tells each interface's counters", () => {
    const text = `${heading}    lo: 2651739160   99663    0    0    0     0          0         0 2651739160   99663    0    0    0     0       0          0
  eth0:3865024538  103591    1    2    3     4          5         6  7401003   70525    7    8    9    10      11         12
`;
    assert.deepEqual(parseNetDev(text), [
      {
        ...{ name: "lo", rxBytes: 2_651_739_160, rxPackets: 99_663, rxErrors: 0, rxDropped: 0 },
        ...{ txBytes: 2_651_739_160, txPackets: 99_663, txErrors: 0, txDropped: 0 },
      },
      {
        ...{ name: "eth0", rxBytes: 3_865_024_538, rxPackets: 103_591, rxErrors: 1, rxDropped: 2 },
        ...{ txBytes: 7_401_003, txPackets: 70_525, txErrors: 7, txDropped: 8 },
      },
    ]);
  });

  it("keeps a colon in an interface's name", () => {
    const [alias] = parseNetDev(`${heading}eth0:1: ${"1 ".repeat(16).trim()}\n`);
    assert.equal(alias?.name, "eth0:1");
  });

  it("leaves out what is no interface", () => {
    assert.deepEqual(parseNetDev(`${heading}eth0: 1 2 3\n : ${"1 ".repeat(16)}\neth1: ${"x ".repeat(16)}\n\0\n`), []);
  });
});

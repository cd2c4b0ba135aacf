import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseNetworkList } from "../cni/network-config.ts";
import type { Operations } from "../launcher/operations.ts";
import { Turns } from "../lib/turns.ts";
import { open, scratch } from "../state/store.fixture.ts";
import { aSandbox } from "./sandbox.fixture.ts";
import { SandboxNetwork } from "./sandbox-network.ts";

const text = JSON.stringify({ cniVersion: "1.0.0", name: "n", plugins: [{ type: "bridge" }] });
const network = { list: parseNetworkList(text), pluginPaths: ["/cni/bridge"], binDirs: ["/cni"] };

/** A ledger with one attachment whose DEL fails after `delMs` of a mocked clock. */
function setup(root: string, del: () => void) {
  const store = open(root);
  const debts: string[] = [];
  const operations: Operations = {
    perform: () => Promise.reject(new Error("nothing is performed here")),
    run: async () => {
      del();
      const [stdout, stderr] = [Buffer.from('{"code": 11, "msg": "busy"}'), Buffer.alloc(0)];
      return { outcome: "exited", status: 1, stdout, stderr, truncated: false };
    },
  };
  const attachments = new SandboxNetwork({
    ...{ store, operations, network: () => network as never, timeoutMs: 180_000, log: () => {} },
    turns: new Turns({ atOnce: 4, perOwner: 4, waiting: 4, what: "network changes" }),
    onDebt: () => debts.push("debt"),
  });
  const sandbox = aSandbox();
  store.commit(attachments.intent(sandbox, "/run/netns/x"));
  return { store, attachments, debts, id: sandbox.id };
}

describe("SandboxNetwork", () => {
  it("fails with the plugin while a failing DEL is young", async () => {
    using folder = scratch();
    const { store, attachments, debts, id } = setup(folder.path, () => {});
    await using _store = store;
    await assert.rejects(attachments.detach(id), /busy/);
    assert.deepEqual([debts, attachments.get(id)?.state.phase], [[], "intent"]);
  });

  it("makes a debt, tells of it and is in nobody's way when DEL has hung for long", async (t) => {
    using folder = scratch();
    let nowMs = 0;
    t.mock.method(performance, "now", () => nowMs);
    const { store, attachments, debts, id } = setup(folder.path, () => {
      nowMs += 180_000;
    });
    await using _store = store;
    assert.equal(await attachments.detach(id), false, "the namespace is needed to pay it");
    assert.deepEqual(debts, ["debt"]);
    const debt = attachments.debt(id);
    assert.deepEqual([debt?.state.attempts, debt?.netnsPath], [1, "/run/netns/x"]);
  });
});

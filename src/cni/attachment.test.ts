import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  attached,
  cniArgs,
  intended,
  isCallersError,
  isDebt,
  knownResult,
  nextAttemptMs,
  owed,
  progressed,
  withoutNamespace,
} from "./attachment.ts";
import { parseNetworkList } from "./network-config.ts";

const identity = { id: "ab12", namespace: "default", name: "web-0", uid: "u-1" };
const list = parseNetworkList(JSON.stringify({ cniVersion: "1.0.0", name: "net", plugins: [{ type: "bridge" }] }));
const network = { file: "10-net.conflist", list, pluginPaths: ["/opt/cni/bin/bridge"], binDirs: ["/opt/cni/bin"] };
const intent = intended(network, identity, "/run/netns/x", {});
const result = { cniVersion: "1.0.0", ips: [] };

describe("cniArgs", () => {
  it("is what plugins for Kubernetes expect, in their order", () => {
    assert.equal(
      cniArgs(identity),
      "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=ab12;K8S_POD_UID=u-1",
    );
  });
  for (const name of ["a;K8S_POD_UID=other", "a\nb", "a\0b"]) {
    it(`refuses the name ${JSON.stringify(name)}`, () => {
      assert.throws(() => cniArgs({ ...identity, name }), /K8S_POD_NAME may not contain ";"/);
    });
  }
});

describe("an attachment", () => {
  it("survives the ledger's JSON in every state", () => {
    const rows = [intent, progressed(intent, result), attached(intent, result), owed(intent, "no", 5)];
    for (const row of rows) assert.deepEqual(JSON.parse(JSON.stringify(row)), row);
  });
  it("keeps what DEL needs: the partial result of an unfinished ADD, the whole one after it", () => {
    assert.equal(knownResult(intent), undefined);
    assert.equal(knownResult(owed(progressed(intent, result), "", 5)), result);
    assert.equal(knownResult(owed(attached(intent, result), "", 5)), result);
  });
  it("counts failures and remembers since when it is owed", () => {
    const first = owed(attached(intent, result), "", 10);
    assert.deepEqual(first.state, {
      phase: "debt",
      result,
      sinceMs: 10,
      lastAttemptMs: 10,
      attempts: 0,
      lastError: "",
    });
    const second = owed(owed(first, "busy", 20), "gone", 30);
    assert.deepEqual(second.state, { ...first.state, lastAttemptMs: 30, attempts: 2, lastError: "gone" });
    assert.ok(isDebt(second));
  });
  it("is attached once only, and not when it is owed", () => {
    assert.throws(() => attached(attached(intent, result), result), /is attached, not intent/);
    assert.throws(() => progressed(owed(intent, "", 1), result), /is debt, not intent/);
  });
  it("loses its namespace and nothing else at a reboot", () => {
    assert.deepEqual(withoutNamespace(intent), { ...intent, netnsPath: "" });
  });
});

describe("nextAttemptMs", () => {
  const debt = (attempts: number) => ({ ...owed(intent, "", 1_000).state, attempts });
  it("is at once before the first failure", () => {
    assert.equal(nextAttemptMs(debt(0), 5_000, 0), 1_000);
  });
  it("doubles from one second to five minutes", () => {
    const delays = [1, 2, 3, 9, 10, 1000].map((attempts) => nextAttemptMs(debt(attempts), 1_000, 0) - 1_000);
    assert.deepEqual(delays, [1_000, 2_000, 4_000, 256_000, 300_000, 300_000]);
  });
  it("spreads by up to a half", () => {
    assert.equal(nextAttemptMs(debt(2), 1_000, 1), 2_000);
  });
  it("is not postponed by a clock that was set back", () => {
    assert.equal(nextAttemptMs(debt(1), 400, 0), 1_400);
  });
});

describe("isCallersError", () => {
  it("holds for thirty seconds from the first attempt, and for no longer by a clock that was set back", () => {
    const { state } = owed(intent, "busy", 1_000);
    const answers = [1_000, 30_999, 31_000, 500].map((nowMs) => isCallersError(state, nowMs));
    assert.deepEqual(answers, [true, true, false, false]);
  });
});

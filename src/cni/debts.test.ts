import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { type DebtAttachment, intended, owed } from "./attachment.ts";
import { DebtPayer } from "./debts.ts";
import { parseNetworkList } from "./network-config.ts";

const list = parseNetworkList(JSON.stringify({ cniVersion: "1.0.0", name: "net", plugins: [{ type: "bridge" }] }));
const network = { file: "10-net.conflist", list, pluginPaths: ["/opt/cni/bin/bridge"], binDirs: ["/opt/cni/bin"] };

function debtOf(id: string, sinceMs = 0): DebtAttachment {
  return owed(intended(network, { id, namespace: "default", name: id, uid: id }, "", {}), "", sinceMs);
}

/** A ledger in memory, a clock of the test's, and DELs that end when the test says so. */
function setup(t: TestContext, ids: readonly string[], concurrency = 4) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const rows = new Map(ids.map((id, index) => [id, debtOf(id, index)]));
  const calls: { id: string; signal: AbortSignal; done: PromiseWithResolvers<void> }[] = [];
  const ledgerErrors: Error[] = [];
  const payer = new DebtPayer(
    {
      debts: () => [...rows.values()],
      debt: (id) => rows.get(id),
      pay: ({ sandboxId }, signal) => {
        const done = Promise.withResolvers<void>();
        signal.addEventListener("abort", () => done.reject(signal.reason), { once: true });
        calls.push({ id: sandboxId, signal, done });
        return done.promise;
      },
      paid: async ({ sandboxId }) => {
        const error = ledgerErrors.shift();
        if (error !== undefined) throw error;
        rows.delete(sandboxId);
      },
      failed: async (debt) => void rows.set(debt.sandboxId, debt),
      nowMs: () => Date.now(),
      jitter: () => 0,
    },
    concurrency,
  );
  const started = () => calls.map(({ id }) => id);
  return { payer, rows, calls, started, ledgerErrors, tick: (ms: number) => t.mock.timers.tick(ms) };
}

/** Lets everything that is already decided happen. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("DebtPayer", () => {
  it("pays what is owed, a few at a time", async (t) => {
    const { payer, rows, calls, started, tick } = setup(t, ["a", "b", "c"], 2);
    payer.wake();
    payer.wake();
    tick(0);
    assert.deepEqual(started(), ["a", "b"]);
    calls[1]?.done.resolve();
    await settled();
    assert.deepEqual(started(), ["a", "b", "c"]);
    calls[0]?.done.resolve();
    calls[2]?.done.resolve();
    await settled();
    assert.equal(rows.size, 0);
    assert.deepEqual(payer.counters(), { owed: 0, paid: 3, failed: 0, oldestMs: 0 });
  });

  it("tries again later and later, and keeps count and reason", async (t) => {
    const { payer, calls, started, tick } = setup(t, ["a"]);
    payer.wake();
    tick(0);
    for (const [index, delay] of [1_000, 2_000, 4_000].entries()) {
      calls[index]?.done.reject(new Error("range file is locked"));
      await settled();
      tick(delay - 1);
      assert.equal(started().length, index + 1);
      tick(1);
      assert.equal(started().length, index + 2);
    }
    const [debt] = payer.snapshot();
    assert.deepEqual(debt, {
      sandboxId: "a",
      networkName: "net",
      sinceMs: 0,
      attempts: 3,
      lastError: "range file is locked",
      paying: true,
    });
    calls[3]?.done.resolve();
    await settled();
    assert.deepEqual(payer.counters(), { owed: 0, paid: 1, failed: 3, oldestMs: 0 });
  });

  it("lets a caller join the attempt in flight: never two DELs for one sandbox", async (t) => {
    const { payer, calls, started, tick } = setup(t, ["a"]);
    payer.wake();
    tick(0);
    const joined = [payer.pay("a"), payer.pay("a")];
    calls[0]?.done.resolve();
    await Promise.all(joined);
    assert.deepEqual(started(), ["a"]);
  });

  it("pays at once when asked, past its schedule, and rejects as DEL does", async (t) => {
    const { payer, calls, started, tick } = setup(t, ["a"]);
    payer.wake();
    const asked = payer.pay("a");
    tick(0);
    assert.deepEqual(started(), ["a"]);
    calls[0]?.done.reject(new Error("no"));
    await assert.rejects(asked, /^Error: no$/);
    assert.equal(payer.counters().owed, 1);
    tick(1_000);
    assert.deepEqual(started(), ["a", "a"]);
  });

  it("has nothing to do for a sandbox without a debt", async (t) => {
    await setup(t, []).payer.pay("a");
  });

  it("pays again when the ledger could not be written", async (t) => {
    const { payer, calls, started, ledgerErrors, rows, tick } = setup(t, ["a"]);
    ledgerErrors.push(new Error("disk full"));
    payer.wake();
    tick(0);
    calls[0]?.done.resolve();
    await settled();
    tick(5_000);
    assert.deepEqual(started(), ["a", "a"]);
    calls[1]?.done.resolve();
    await settled();
    assert.equal(rows.size, 0);
  });

  it("ends by aborting what is in flight, counts no failure for it, and starts nothing more", async (t) => {
    const { payer, rows, started, tick } = setup(t, ["a", "b"], 1);
    payer.wake();
    tick(0);
    await payer[Symbol.asyncDispose]();
    tick(600_000);
    await settled();
    assert.deepEqual(started(), ["a"]);
    assert.deepEqual(
      [...rows.values()].map(({ state }) => state.attempts),
      [0, 0],
    );
    assert.equal(payer.counters().failed, 0);
  });
});

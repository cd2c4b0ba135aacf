import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Operations, RunRequest } from "../launcher/operations.ts";
import { attached, intended } from "./attachment.ts";
import { addNetwork, checkNetwork, deleteNetwork, isUndone } from "./network.ts";
import { parseNetworkList } from "./network-config.ts";
import { gcNetwork, negotiateVersion, statusNetwork } from "./network-upkeep.ts";

const options = { timeoutMs: 10_000, undoTimeoutMs: 10_000, preferred: "ipv4" } as const;
const identity = { id: "ab12", namespace: "default", name: "web", uid: "u" };
const resultOf = (type: string) => ({ cniVersion: "1.0.0", ips: [{ address: "10.0.0.2/8" }], by: type });

type Answer = (command: string, type: string) => { status?: number; stdout: string };

function setup(changes: object = {}, answer: Answer = (_, type) => ({ stdout: JSON.stringify(resultOf(type)) })) {
  const plugins = [{ type: "first" }, { type: "second" }, { type: "third" }];
  const text = JSON.stringify({ cniVersion: "1.0.0", name: "net", plugins, ...changes });
  const pluginPaths = plugins.map(({ type }) => `/absent/${type}`);
  const network = { file: "10-net.conflist", list: parseNetworkList(text), pluginPaths, binDirs: ["/absent"] };
  const calls: { command: string; type: string; stdin: Record<string, unknown> }[] = [];
  const run = ({ argv, env, stdin }: RunRequest) => {
    const { CNI_COMMAND: command = "" } = env;
    const type = (argv[0] ?? "").slice("/absent/".length);
    calls.push({ command, type, stdin: JSON.parse(String(stdin)) });
    const { status = 0, stdout } = answer(command, type);
    const output = { stdout: Buffer.from(stdout), stderr: Buffer.alloc(0), truncated: false };
    return Promise.resolve({ outcome: "exited", status, ...output } as const);
  };
  const operations: Operations = { run, perform: () => Promise.reject(new Error("unused")) };
  const order = () => calls.map(({ command, type }) => `${command} ${type}`);
  return { operations, network, intent: intended(network, identity, "/run/netns/x", {}), calls, order };
}

const failing = (...failures: readonly string[]): Answer => {
  return (command, type) =>
    failures.includes(`${command} ${type}`)
      ? { status: 1, stdout: JSON.stringify({ code: 11, msg: `${type} is broken` }) }
      : { stdout: JSON.stringify(resultOf(type)) };
};

async function rejection(work: Promise<unknown>): Promise<Error> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof Error);
  return error;
}

describe("addNetwork", () => {
  it("hands each plugin the result of the one before it and returns the last", async () => {
    const { operations, intent, calls, order } = setup();
    const progress: unknown[] = [];
    const result = await addNetwork(operations, intent, { ...options, onProgress: (raw) => progress.push(raw.by) });
    assert.deepEqual(order(), ["ADD first", "ADD second", "ADD third"]);
    const previous = [undefined, resultOf("first"), resultOf("second")];
    assert.deepEqual(
      calls.map(({ stdin }) => stdin.prevResult),
      previous,
    );
    assert.deepEqual(result.ips, ["10.0.0.2"]);
    assert.equal(result.raw.by, "third");
    assert.deepEqual(progress, ["first", "second"]);
  });

  it("undoes the whole chain with the last good result when a plugin fails", async () => {
    const { operations, intent, calls, order } = setup({}, failing("ADD second"));
    const error = await rejection(addNetwork(operations, intent, options));
    assert.equal(error.message, "CNI plugin second ADD failed: second is broken (code 11)");
    assert.ok(isUndone(error));
    assert.deepEqual(order(), ["ADD first", "ADD second", "DEL third", "DEL second", "DEL first"]);
    assert.deepEqual(calls[2]?.stdin.prevResult, resultOf("first"));
  });

  it("reports both errors when undoing fails too, and that something may be left", async () => {
    const { operations, intent, order } = setup({}, failing("ADD second", "DEL second"));
    const error = await rejection(addNetwork(operations, intent, options));
    assert.equal(
      error.message,
      "CNI plugin second ADD failed: second is broken (code 11); undoing it failed: CNI plugin second DEL failed: second is broken (code 11)",
    );
    assert.ok(!isUndone(error));
    assert.equal(order().at(-1), "DEL first");
  });

  it("fails with the plugin's words quoted when it answers what is no result", async () => {
    const { operations, intent } = setup({}, (command) => ({ stdout: command === "ADD" ? "done!" : "" }));
    const error = await rejection(addNetwork(operations, intent, options));
    assert.equal(error.message, 'CNI plugin first ADD answered what is no result: the result is not JSON: "done!"');
  });

  it("does not take a network that gives no address", async () => {
    const { operations, intent } = setup({}, () => ({ stdout: "{}" }));
    const error = await rejection(addNetwork(operations, intent, options));
    assert.equal(error.message, 'CNI network "net" gave the sandbox no address');
    assert.ok(isUndone(error));
  });

  it("undoes in spite of the caller's signal", async () => {
    const abort = new AbortController();
    const { operations, intent, order } = setup({}, (command, type) => {
      if (command === "ADD" && type === "second") abort.abort(new Error("gone"));
      return { stdout: JSON.stringify(resultOf(type)) };
    });
    const error = await rejection(addNetwork(operations, intent, options, abort.signal));
    assert.equal(error.message, "CNI plugin second ADD was given up");
    assert.ok(isUndone(error));
    assert.deepEqual(order().slice(2), ["DEL third", "DEL second", "DEL first"]);
  });
});

describe("deleteNetwork", () => {
  it("runs in reverse order and gives every plugin the stored result", async () => {
    const { operations, intent, calls, order } = setup();
    await deleteNetwork(operations, attached(intent, resultOf("third")), 10_000);
    assert.deepEqual(order(), ["DEL third", "DEL second", "DEL first"]);
    assert.ok(calls.every(({ stdin }) => JSON.stringify(stdin.prevResult) === JSON.stringify(resultOf("third"))));
  });

  it("gives no result to versions before 0.4.0, and none where none is known", async () => {
    const old = setup({ cniVersion: "0.3.1" });
    await deleteNetwork(old.operations, attached(old.intent, resultOf("third")), 10_000);
    const unknown = setup();
    await deleteNetwork(unknown.operations, unknown.intent, 10_000);
    assert.ok([...old.calls, ...unknown.calls].every(({ stdin }) => !("prevResult" in stdin)));
  });

  it("goes on past failing plugins and reports all of them", async () => {
    const { operations, intent, order } = setup({}, failing("DEL third", "DEL first"));
    const error = await rejection(deleteNetwork(operations, intent, 10_000));
    assert.equal(order().length, 3);
    assert.match(error.message, /^CNI plugin third DEL failed: .*; CNI plugin first DEL failed: /);
  });

  it("leaves time for every plugin when one takes all of its own", async () => {
    const { operations, intent } = setup();
    const deadlines: number[] = [];
    const run: Operations["run"] = (request) => {
      deadlines.push(request.deadlineMs);
      return operations.run(request);
    };
    await deleteNetwork({ ...operations, run }, intent, 90_000);
    const [third = 0, second = 0, first = 0] = deadlines;
    assert.ok(third <= 30_000 && second <= 45_000 && first > 60_000, deadlines.join());
  });

  it("stops where it is when it is given up", async () => {
    const abort = new AbortController();
    const { operations, intent, order } = setup({}, () => {
      abort.abort(new Error("shutdown"));
      return { stdout: "" };
    });
    await assert.rejects(deleteNetwork(operations, intent, 10_000, abort.signal), /CNI plugin third DEL was given up/);
    assert.deepEqual(order(), ["DEL third"]);
  });
});

describe("checkNetwork", () => {
  it("runs in order with the stored result, and not at all where the configuration says so", async () => {
    const { operations, intent, calls, order } = setup();
    await checkNetwork(operations, attached(intent, resultOf("third")), 10_000);
    assert.deepEqual(order(), ["CHECK first", "CHECK second", "CHECK third"]);
    assert.deepEqual(calls[0]?.stdin.prevResult, resultOf("third"));
    for (const changes of [{ disableCheck: true }, { cniVersion: "0.3.1" }]) {
      const none = setup(changes);
      await checkNetwork(none.operations, attached(none.intent, resultOf("third")), 10_000);
      assert.deepEqual(none.order(), []);
    }
  });
});

describe("upkeep of a network", () => {
  it("asks for STATUS from 1.1.0 on and says what the plugin says", async () => {
    const { operations, network, order } = setup({ cniVersion: "1.1.0" }, failing("STATUS second"));
    await assert.rejects(
      statusNetwork(operations, network, 10_000),
      /CNI plugin second STATUS failed: second is broken/,
    );
    assert.deepEqual(order(), ["STATUS first", "STATUS second"]);
    const old = setup();
    await statusNetwork(old.operations, old.network, 10_000);
    assert.deepEqual(old.order(), []);
  });

  it("tells GC which attachments are valid, goes on past failures, and respects disableGC", async () => {
    const { operations, network, calls, order } = setup({ cniVersion: "1.1.0" }, failing("GC first"));
    const valid = [{ sandboxId: "ab12", ifName: "eth0" }];
    await assert.rejects(gcNetwork(operations, network, valid, 10_000), /CNI plugin first GC failed/);
    assert.deepEqual(order(), ["GC first", "GC second", "GC third"]);
    assert.deepEqual(calls[2]?.stdin["cni.dev/valid-attachments"], [{ containerID: "ab12", ifname: "eth0" }]);
    const disabled = setup({ cniVersion: "1.1.0", disableGC: true });
    await gcNetwork(disabled.operations, disabled.network, valid, 10_000);
    assert.deepEqual(disabled.order(), []);
  });

  it("takes the newest version that the configuration allows and every plugin speaks", async () => {
    const speaks: Readonly<Record<string, readonly string[]>> = {
      first: ["0.4.0", "1.0.0", "1.1.0"],
      second: ["0.4.0", "1.0.0"],
      third: ["0.3.1", "0.4.0", "1.0.0", "2.0.0"],
    };
    const answer: Answer = (_, type) => ({ stdout: JSON.stringify({ supportedVersions: speaks[type] }) });
    const { operations, network } = setup({ cniVersions: ["0.4.0", "1.1.0"] }, answer);
    assert.equal((await negotiateVersion(operations, network, 10_000)).list.cniVersion, "1.0.0");
    const newest = setup({ cniVersion: undefined, cniVersions: ["1.1.0", "0.3.1"] }, answer);
    await assert.rejects(
      negotiateVersion(newest.operations, newest.network, 10_000),
      /CNI network "net" allows 1.1.0, 0.3.1, but plugin second speaks 0.4.0, 1.0.0: upgrade it/,
    );
  });
});

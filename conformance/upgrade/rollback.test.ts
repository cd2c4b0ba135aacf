/** The way back: what version 1 had for a client drives the monitors that this build started. */
import assert from "node:assert/strict";
import { readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  type Bundle,
  bundle,
  collect,
  createRequest,
  execRequest,
  Node,
  parseLog,
  type Sandbox,
  startCall,
  streamRequest,
} from "../../native/test/monitor-fixture.ts";
import type { MonitoredContainer } from "../../src/monitor/monitored-container.ts";
import { earlierVersion } from "../harness/earlier-version.ts";
import { requireIsolation } from "../harness/isolation.ts";

/** Version 1's file has no types of its own here; for what is called below they are today's. */
type Client = typeof import("../../src/monitor/monitor.ts");

const forever = new AbortController().signal;
const asks = "trap 'exit 42' TERM; while read -r line; do echo got $line; done";
const all = { stdin: true, stdout: true, stderr: true };

for (const runtime of ["runc", "crun"]) {
  describe(`a daemon of version 1 after one of today, with ${runtime}`, () => {
    const owned = new AsyncDisposableStack();
    const exits = new Map<string, PromiseWithResolvers<MonitoredContainer>>();
    let sandbox: Sandbox;
    let older: Client["Monitor"]["prototype"];
    let kept: Bundle;

    before(async () => {
      await requireIsolation();
      const node = owned.use(new Node());
      const { sources } = await earlierVersion("v1");
      const client: Client = await import(join(sources, "monitor/monitor.ts"));
      sandbox = owned.use(await node.sandbox());
      kept = bundle(sandbox.place, runtime, "kept", ["sh", "-c", asks]);
      await sandbox.monitor.create("kept", createRequest(kept, { stdin: true }));
      await sandbox.monitor.start("kept", startCall(kept));
      const onExit = (container: MonitoredContainer) => exit(container.id).resolve(container);
      const { socketPath } = sandbox.place;
      older = await client.Monitor.connect({ socketPath, epoch: 2n, onExit, onLost: () => undefined });
      owned.defer(() => older.close());
    });
    after(() => owned.disposeAsync());

    function exit(id: string): PromiseWithResolvers<MonitoredContainer> {
      return exits.getOrInsertComputed(id, () => Promise.withResolvers<MonitoredContainer>());
    }

    test("speaks version 1, and the newer daemon's connection has ended", async () => {
      assert.equal(older.hello?.version, 1);
      assert.match((await sandbox.lost).message, /STALE_EPOCH/);
    });

    test("sees what runs", async () => {
      const [container, ...others] = await older.snapshot();
      assert.deepEqual([container?.id, container?.state, others.length], ["kept", "running", 0]);
    });

    test("runs commands, with and without their streams", async () => {
      const said = await older.execSync("kept", execRequest(kept, ["sh", "-c", "echo out; echo err >&2; exit 3"]));
      const told = [said.outcome, said.status, `${said.stdout}`, `${said.stderr}`];
      assert.deepEqual(told, ["exited", 3, "out\n", "err\n"]);
      const late = await older.execSync("kept", execRequest(kept, ["sleep", "1000"], { timeoutMs: 100 }));
      assert.equal(late.outcome, "timedOut");
      using session = await older.exec("kept", streamRequest(kept, ["sh", "-c", "echo streamed; exit 5"]), forever);
      assert.equal((await collect(session)).stdout, "streamed\n");
      assert.deepEqual(await session.ended, { outcome: "exited", status: 5 });
    });

    test("attaches, and rotates the log", async () => {
      using session = await older.attach("kept", all, forever);
      await session.write(Buffer.from("one\n"));
      for await (const output of session.output) {
        assert.equal("data" in output && output.data.toString(), "got one\n");
        break;
      }
      renameSync(kept.logPath, `${kept.logPath}.1`);
      assert.ok((await older.reopenLog("kept")) > 0n);
      assert.equal(parseLog(readFileSync(`${kept.logPath}.1`, "utf8")).stdout, "got one\n");
      assert.equal(readFileSync(kept.logPath, "utf8"), "");
    });

    test("creates further containers, hears how each ended, and leaves nothing", async () => {
      const added = bundle(sandbox.place, runtime, "added", ["sh", "-c", "echo said; exit 6"]);
      await older.create("added", createRequest(added));
      await older.start("added", startCall(added));
      const ended = await exit("added").promise;
      assert.deepEqual([ended.siCode, ended.siStatus, ended.oomKills, ended.logLostBytes], [1, 6, 0n, 0n]);
      assert.equal(parseLog(readFileSync(added.logPath, "utf8")).stdout, "said\n");
      await older.signal("kept", 15);
      assert.deepEqual((await exit("kept").promise).siStatus, 42);
      for (const { id, runtime: path, root } of [added, kept]) {
        const argv = [path, "--root", root, "delete", "--force", id];
        const { status } = await older.runtime("/", { argv, env: startCall(kept).env, deadlineMs: 30_000 });
        assert.equal(status, 0);
        await older.ackExit(id);
        await older.release(id);
      }
      assert.deepEqual(await older.snapshot(), []);
      await older.shutdown();
    });
  });
}

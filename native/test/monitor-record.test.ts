import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { patience } from "../../conformance/harness/patience.ts";
import { MonitorError } from "../../src/monitor/monitor-error.ts";
import { parseExitRecord } from "../../src/monitor/record.ts";
import {
  bundle,
  createRequest,
  Node,
  type Place,
  parseLog,
  remove,
  run,
  type Sandbox,
  startCall,
} from "./monitor-fixture.ts";

const node = new Node();
after(() => node[Symbol.asyncDispose]());

/** A file system of 256 KiB over the folder of a monitor's records, with all that fits but for what is said. */
class FullDisk implements Disposable {
  readonly #place: Place;
  readonly #filler: string;

  constructor(place: Place) {
    this.#place = place;
    this.#filler = join(place.dir, "filler");
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "small", place.dir]);
  }

  fill(): void {
    const room = Buffer.alloc(4096);
    try {
      for (;;) writeFileSync(this.#filler, room, { flag: "a" });
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, "ENOSPC");
    }
  }

  empty(): void {
    rmSync(this.#filler);
  }

  [Symbol.dispose](): void {
    execFileSync("umount", ["--lazy", this.#place.dir]);
  }
}

test("a container whose end could not be recorded is not made; of one that is made it is, however full the disk", async () => {
  using s = await node.sandbox();
  using disk = new FullDisk(s.place);
  const b = bundle(s.place, "crun", "c1", ["sleep", "1000"]);
  const request = createRequest(b, { logPath: "" });
  disk.fill();
  await assert.rejects(s.monitor.create("c1", request), (error) => {
    assert.ok(error instanceof MonitorError);
    assert.deepEqual([error.monitorCode, error.code, error.what], ["SYSCALL", "ENOSPC", "record"]);
    return true;
  });
  disk.empty();
  await s.monitor.create("c1", request);
  await s.monitor.start("c1", startCall(b));
  disk.fill();
  await s.monitor.signal("c1", 9);
  assert.equal((await s.exited("c1")).siStatus, 9);
  const record = parseExitRecord(readFileSync(join(s.place.dir, "c1.exit")));
  assert.deepEqual([record?.state, record?.siCode, record?.siStatus], ["exited", 2, 9]);
  disk.empty();
  await remove(s, b);
});

test("a log that nobody has renamed is gone on with when it is opened anew", {
  timeout: patience(60_000),
}, async () => {
  using s = await node.sandbox();
  const b = await run(s, "crun", "c1", ["sh", "-c", "echo before; read x; echo after"], {}, { stdin: true });
  const read = () => parseLog(readFileSync(b.logPath, "utf8")).stdout;
  while (read() !== "before\n") await s.monitor.snapshot();
  await s.monitor.reopenLog("c1");
  await s.monitor.reopenLog("c1");
  const streams = { stdin: true, stdout: false, stderr: false };
  using client = await s.monitor.attach("c1", streams, new AbortController().signal);
  await client.write(Buffer.from("\n"));
  await s.exited("c1");
  assert.equal(read(), "before\nafter\n");
  await remove(s, b);
});

test("who is not root is not heard, even where the socket lets him in", { timeout: patience(30_000) }, async () => {
  using s = await node.sandbox();
  for (let path = dirname(s.place.socketPath); path !== tmpdir(); path = dirname(path)) chmodSync(path, 0o755);
  chmodSync(s.place.socketPath, 0o777);
  const script = `require("node:net").connect(${JSON.stringify(s.place.socketPath)})
    .on("connect", () => console.log("in"))
    .on("error", (error) => console.log(error.code))
    .on("close", () => console.log("closed"))
    .resume()`;
  const stranger = spawn(process.execPath, ["-e", script], {
    uid: 65534,
    gid: 65534,
    stdio: ["ignore", "pipe", "inherit"],
  });
  using _end = { [Symbol.dispose]: () => stranger.kill("SIGKILL") };
  let said = "";
  stranger.stdout.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  await once(stranger, "exit");
  assert.equal(said, "in\nclosed\n");
  assert.deepEqual(await stateOf(s), []);
});

async function stateOf(s: Sandbox): Promise<readonly string[]> {
  return (await s.monitor.snapshot()).map(({ id }) => id);
}

import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, readdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type Bundle, bundle, createRequest, remove, Sandbox, startCall } from "../../native/test/monitor-fixture.ts";
import type { Row } from "./table.ts";
import type { Workbench } from "./workbench.ts";

const LINE = 100;
const HEADER = 40;
/** Less is printed before it was rotated often. */
const LEAST_MEGABYTES = 2_000;
/** So often a daemon rotates before it is killed. */
const ROTATIONS = 2;

/** Whether each byte of a container's output is in its log, in order, though that is rotated ten times a second by daemons that are killed. */
export async function integrity(bench: Workbench): Promise<readonly Row[]> {
  using sandbox = await bench.node.sandbox();
  const megabytes = Math.max(LEAST_MEGABYTES, bench.extent.megabytes);
  const bytes = megabytes * 1e6;
  const numbered = [String(bytes), String(LINE), "65536", "numbered"];
  const b = bundle(sandbox.place, "crun", "n", ["/bin/writer", ...numbered]);
  await sandbox.monitor.create(b.id, createRequest(b));
  // The first of them is there when the container starts.
  const { rotations, kills } = await rotate(sandbox, b, () => sandbox.monitor.start(b.id, startCall(b)));
  using last = await Sandbox.connect(sandbox.place, 1_000_000n);
  const [container] = await last.monitor.snapshot();
  await remove(last, b);
  const printed = execFileSync("sh", ["-c", '"$0" "$@" | sha256sum', bench.writer, ...numbered], { encoding: "utf8" });
  const isEqual = printed.startsWith(await payloadDigest(b));
  return [
    {
      what: `log whole and in order, ${megabytes} MB`,
      unit: "of 1",
      ours: isEqual ? 1 : 0,
      target: { least: 1 },
    },
    { what: "  bytes counted as lost", unit: "", ours: Number(container?.logLostBytes), target: { most: 0 } },
    { what: "  rotations meanwhile", unit: "", ours: rotations, target: { least: ROTATIONS } },
    { what: "  daemons killed amid them", unit: "", ours: kills, target: { least: 1 } },
  ];
}

/** One daemon after another, each of a later epoch, until one hears of the container's end. */
async function rotate(
  s: Sandbox,
  b: Bundle,
  start: () => Promise<unknown>,
): Promise<{ readonly rotations: number; readonly kills: number }> {
  let rotations = 0;
  for (let kills = 0; ; kills += 1) {
    const args = [join(import.meta.dirname, "rotator.ts"), s.place.socketPath, String(kills + 1), b.id, b.logPath];
    const daemon = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    let own = 0;
    for await (const line of createInterface(daemon.stdout)) {
      if (line === "exited") return { rotations: rotations + own, kills };
      if (line === "ready") {
        if (kills === 0) await start();
        continue;
      }
      own += 1;
      if (own === ROTATIONS) daemon.kill("SIGKILL");
    }
    if (own < ROTATIONS) throw new Error("a rotator failed");
    rotations += own;
  }
}

/** Of the text of all records in the order of their files, whose names sort so. */
async function payloadDigest(b: Bundle): Promise<string> {
  const files = readdirSync(b.bundle).filter((name) => name.startsWith("0.log."));
  const hash = createHash("sha256");
  for (const file of [...files.sort(), "0.log"]) {
    let rest: Buffer = Buffer.alloc(0);
    for await (const chunk of createReadStream(join(b.bundle, file), { highWaterMark: 1 << 20 })) {
      rest = hashRecords(hash, Buffer.concat([rest, chunk]));
    }
    if (rest.length > 0) throw new Error(`${file} ends amid a record`);
  }
  return hash.digest("hex");
}

/** What is left is no whole record yet. */
function hashRecords(hash: ReturnType<typeof createHash>, bytes: Buffer): Buffer {
  const payload = Buffer.allocUnsafe(bytes.length);
  let used = 0;
  let at = 0;
  for (let end = bytes.indexOf(10, at); end >= 0; end = bytes.indexOf(10, at)) {
    // A partial record's line feed is the log's, not the container's.
    const isFull = bytes[at + HEADER - 2] === 0x46;
    used += bytes.copy(payload, used, at + HEADER, isFull ? end + 1 : end);
    at = end + 1;
  }
  hash.update(payload.subarray(0, used));
  return bytes.subarray(at);
}

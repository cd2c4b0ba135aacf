import { execFileSync } from "node:child_process";
import { rmSync, statSync } from "node:fs";
import { bundle, createRequest, remove, type Sandbox, startCall } from "../../native/test/monitor-fixture.ts";
import { encodeStart, MESSAGE } from "../../src/monitor/protocol.ts";
import { inTurns, median } from "../measure.ts";
import { conmonCreate, runtimeCall } from "./conmon.ts";
import type { Stopwatch } from "./stopwatch.ts";
import type { Row } from "./table.ts";
import { frameOf, processorSeconds, secondsOfTicks, type Workbench } from "./workbench.ts";

/** What a container prints: lines of so many bytes, in writes of so many. */
interface Shape {
  readonly what: string;
  readonly line: number;
  readonly chunk: number;
  readonly target?: Row["target"];
}

const shapes: readonly Shape[] = [
  { what: "100 B lines, 64 KiB writes", line: 100, chunk: 65_536, target: { least: 700, leastRatio: 2 } },
  { what: "100 B lines, 100 B writes", line: 100, chunk: 100 },
  { what: "1000 B lines, 64 KiB writes", line: 1000, chunk: 65_536 },
];

interface Run {
  readonly megabytesPerSecond: number;
  readonly processorSecondsPerGigabyte: number;
}

/** Log throughput, from the start of the container to its recorded end: all that it printed is in the file then. */
export async function logs(bench: Workbench): Promise<readonly Row[]> {
  using sandbox = await bench.node.sandbox();
  await using ours = bench.stopwatch(sandbox);
  await using theirs = bench.stopwatch();
  const rows: Row[] = [];
  for (const shape of shapes) {
    const ceiling = writerAlone(bench, shape);
    const results = await inTurns(
      {
        nacelle: (round) => monitorRun(bench, sandbox, ours, shape, round),
        conmon: (round) => conmonRun(bench, sandbox, theirs, shape, round, false),
        synced: (round) => conmonRun(bench, sandbox, theirs, shape, round, true),
      },
      bench.extent.rounds,
    );
    const speed = (runs: readonly Run[]) => median(runs.map((run) => run.megabytesPerSecond));
    const cost = (runs: readonly Run[]) => median(runs.map((run) => run.processorSecondsPerGigabyte));
    const { nacelle, conmon, synced } = results;
    const target = shape.target === undefined ? {} : { target: shape.target };
    rows.push({ what: `log, ${shape.what}`, unit: "MB/s", ours: speed(nacelle), theirs: speed(conmon), ...target });
    rows.push({ what: "  processor time", unit: "s/GB", ours: cost(nacelle), theirs: cost(conmon) });
    rows.push({ what: "  conmon that syncs its log", unit: "MB/s", ours: speed(nacelle), theirs: speed(synced) });
    rows.push({ what: "  the writer alone, into a pipe", unit: "MB/s", ours: ceiling });
  }
  return rows;
}

function bytesOf({ extent }: Workbench, { line }: Shape): number {
  return Math.floor((extent.megabytes * 1e6) / line) * line;
}

/** What the writer does when its reader throws all away: more than what is measured, or it is the writer that is measured. */
function writerAlone(bench: Workbench, shape: Shape): number {
  const bytes = bytesOf(bench, shape);
  const command = `"$0" ${bytes} ${shape.line} ${shape.chunk} | "$0"`;
  const speeds = [1, 2, 3].map(() => {
    const begin = performance.now();
    execFileSync("sh", ["-c", command, bench.writer]);
    return bytes / 1e3 / (performance.now() - begin);
  });
  return Math.max(...speeds);
}

async function monitorRun(bench: Workbench, s: Sandbox, watch: Stopwatch, shape: Shape, round: number): Promise<Run> {
  const bytes = bytesOf(bench, shape);
  const b = printing(s, `n-${shape.line}-${shape.chunk}-${round}`, shape, bytes);
  await s.monitor.create(b.id, createRequest(b));
  const before = processorSeconds(s.place.pid);
  const [ns = Number.NaN] = await watch.ask("exit", frameOf(MESSAGE.start, encodeStart(b.id, startCall(b))));
  const used = processorSeconds(s.place.pid) - before;
  const expected = bytes + (bytes / shape.line) * 40;
  const { size } = statSync(b.logPath);
  if (size !== expected) throw new Error(`the log has ${size} bytes instead of ${expected}`);
  rmSync(b.logPath);
  await remove(s, b);
  return runOf(bytes, ns, used);
}

async function conmonRun(
  bench: Workbench,
  s: Sandbox,
  watch: Stopwatch,
  shape: Shape,
  round: number,
  sync: boolean,
): Promise<Run> {
  const bytes = bytesOf(bench, shape);
  const b = printing(s, `c-${shape.line}-${shape.chunk}-${round}-${sync}`, shape, bytes);
  const { conmon } = await conmonCreate(watch, b, sync);
  const [ns = Number.NaN, ticks = Number.NaN] = await watch.ask("end", conmon, ...runtimeCall(b, "start"));
  if (statSync(b.logPath).size < bytes) throw new Error("conmon's log is not whole");
  rmSync(b.logPath);
  await watch.ask("spawn", ...runtimeCall(b, "delete", "--force"));
  return runOf(bytes, ns, secondsOfTicks(ticks));
}

function printing(s: Sandbox, id: string, { line, chunk }: Shape, bytes: number) {
  return bundle(s.place, "crun", id, ["/bin/writer", String(bytes), String(line), String(chunk)]);
}

function runOf(bytes: number, ns: number, seconds: number): Run {
  return { megabytesPerSecond: (bytes / ns) * 1e3, processorSecondsPerGigabyte: (seconds / bytes) * 1e9 };
}

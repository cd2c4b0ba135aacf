import { join } from "node:path";
import { bundle, createRequest, remove, type Sandbox } from "../../native/test/monitor-fixture.ts";
import { encodeCreate, MESSAGE } from "../../src/monitor/protocol.ts";
import { inTurns, median } from "../measure.ts";
import { conmonCreate, runtimeCall } from "./conmon.ts";
import type { Stopwatch } from "./stopwatch.ts";
import type { Row } from "./table.ts";
import { frameOf, type Workbench } from "./workbench.ts";

/** What a CREATE takes above the runtime's own `create`, which the stopwatch runs by itself. */
export async function creates(bench: Workbench): Promise<readonly Row[]> {
  using sandbox = await bench.node.sandbox();
  await using ours = bench.stopwatch(sandbox);
  await using theirs = bench.stopwatch();
  const competitors = {
    nacelle: (round: number) => monitorCreate(sandbox, ours, round),
    bare: (round: number) => bareCreate(sandbox, theirs, round),
    conmon: (round: number) => conmonCreateTime(sandbox, theirs, round),
  };
  const { nacelle, bare, conmon } = await inTurns(competitors, bench.extent.samples);
  const above = (times: readonly number[]) => Math.min(...times) - Math.min(...bare);
  const apart = (times: readonly number[]) => median(times.map((time, round) => time - (bare[round] ?? Number.NaN)));
  const what = `create above crun's own, minima of ${bench.extent.samples} pairs`;
  return [
    { what, unit: "ms", ours: above(nacelle), theirs: above(conmon), target: { most: 1 } },
    { what: "  median of the differences", unit: "ms", ours: apart(nacelle), theirs: apart(conmon) },
    { what: "  crun alone, minimum", unit: "ms", ours: Math.min(...bare) },
    { what: "  crun alone, median", unit: "ms", ours: median(bare) },
  ];
}

async function monitorCreate(s: Sandbox, watch: Stopwatch, round: number): Promise<number> {
  const b = bundle(s.place, "crun", `n-${round}`, ["true"]);
  const recordCopy = join(s.place.dir, `${b.id}.copy`);
  const log = { soft: 0, hard: 0, policy: "drop", rate: 0 } as const;
  const request = createRequest(b, { extras: { recordCopy, log, cgroup: "" } });
  const [ns = Number.NaN, , flags] = await watch.ask("call", frameOf(MESSAGE.create, encodeCreate(b.id, request)));
  if (flags !== 0) throw new Error(`CREATE of ${b.id} failed`);
  await remove(s, b);
  return ns / 1e6;
}

async function bareCreate(s: Sandbox, watch: Stopwatch, round: number): Promise<number> {
  const b = bundle(s.place, "crun", `b-${round}`, ["true"]);
  const files = ["--bundle", b.bundle, "--pid-file", join(b.bundle, "pid")];
  const words = [b.runtime, "--root", b.root, "--log", join(b.bundle, "log"), "create", ...files, b.id];
  const [ns = Number.NaN, status] = await watch.ask("spawn", ...words);
  if (status !== 0) throw new Error(`crun could not create ${b.id}`);
  await watch.ask("spawn", ...runtimeCall(b, "delete", "--force"));
  return ns / 1e6;
}

async function conmonCreateTime(s: Sandbox, watch: Stopwatch, round: number): Promise<number> {
  const b = bundle(s.place, "crun", `c-${round}`, ["true"]);
  const { ns, conmon } = await conmonCreate(watch, b);
  await watch.ask("end", conmon, ...runtimeCall(b, "delete", "--force"));
  return ns / 1e6;
}

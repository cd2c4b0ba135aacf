import { bundle, remove, run, type Sandbox } from "../../native/test/monitor-fixture.ts";
import { figuresOf, inTurns } from "../measure.ts";
import { conmonCreate, runtimeCall } from "./conmon.ts";
import type { Stopwatch } from "./stopwatch.ts";
import type { Row } from "./table.ts";
import type { Workbench } from "./workbench.ts";

const NAP = ["sleep", "100000"];

/** From the SIGKILL of a container to its EXIT on a control connection; of conmon, to the file that tells of it. */
export async function exits(bench: Workbench): Promise<readonly Row[]> {
  using sandbox = await bench.node.sandbox();
  await using ours = bench.stopwatch(sandbox);
  await using theirs = bench.stopwatch();
  const competitors = {
    nacelle: (round: number) => monitorExit(sandbox, ours, round),
    conmon: (round: number) => conmonExit(sandbox, theirs, round),
  };
  const { nacelle, conmon } = await inTurns(competitors, bench.extent.samples);
  const [own, peer] = [figuresOf(nacelle), figuresOf(conmon)];
  const what = `SIGKILL to EXIT, ${bench.extent.samples} times`;
  return [
    { what: `${what}, p99`, unit: "ms", ours: own.p99, theirs: peer.p99, target: { most: 2 } },
    { what: "  p50", unit: "ms", ours: own.p50, theirs: peer.p50 },
  ];
}

async function monitorExit(s: Sandbox, watch: Stopwatch, round: number): Promise<number> {
  const b = await run(s, "crun", `n-${round}`, NAP);
  const [container] = (await s.monitor.snapshot()).filter(({ id }) => id === b.id);
  const [ns = Number.NaN] = await watch.ask("kill", container?.pid ?? 0);
  await remove(s, b);
  return ns / 1e6;
}

async function conmonExit(s: Sandbox, watch: Stopwatch, round: number): Promise<number> {
  const b = bundle(s.place, "crun", `c-${round}`, NAP);
  const { conmon, pid, exitDir } = await conmonCreate(watch, b);
  await watch.ask("spawn", ...runtimeCall(b, "start"));
  const [ns = Number.NaN] = await watch.ask("gone", conmon, pid, exitDir);
  await watch.ask("spawn", ...runtimeCall(b, "delete", "--force"));
  return ns / 1e6;
}

import { bundle, remove, run, type Sandbox } from "../../native/test/monitor-fixture.ts";
import { figuresOf, inTurns } from "../measure.ts";
import { conmonCreate, runtimeCall } from "./conmon.ts";
import type { Stopwatch } from "./stopwatch.ts";
import type { Row } from "./table.ts";
import type { Workbench } from "./workbench.ts";

const NAP = ["sleep", "100000"];

/** Milliseconds from the SIGKILL of a container. */
interface Exit {
  readonly told: number;
  /** Until the kernel, which takes a container's namespaces apart first, let the monitor see that it had ended. */
  readonly seen: number;
}

/** From the SIGKILL of a container to its EXIT on a control connection; of conmon, to the file that tells of it. */
export async function exits(bench: Workbench): Promise<readonly Row[]> {
  using sandbox = await bench.node.sandbox();
  await using ours = bench.stopwatch(sandbox);
  await using theirs = bench.stopwatch();
  const seen: number[] = [];
  const after: number[] = [];
  const competitors = {
    nacelle: async (round: number) => {
      const exit = await monitorExit(sandbox, ours, round);
      seen.push(exit.seen);
      after.push(exit.told - exit.seen);
      return exit.told;
    },
    conmon: (round: number) => conmonExit(sandbox, theirs, round),
  };
  const { nacelle, conmon } = await inTurns(competitors, bench.extent.kills);
  const [own, peer] = [figuresOf(nacelle), figuresOf(conmon)];
  return [
    {
      what: `SIGKILL to EXIT, ${bench.extent.kills} times, p99`,
      unit: "ms",
      ours: own.p99,
      theirs: peer.p99,
      target: { most: 2 },
    },
    { what: "  p50", unit: "ms", ours: own.p50, theirs: peer.p50 },
    { what: "  until the kernel says that it has ended, p99", unit: "ms", ours: figuresOf(seen).p99 },
    { what: "  from then on, p99", unit: "ms", ours: figuresOf(after).p99 },
  ];
}

async function monitorExit(s: Sandbox, watch: Stopwatch, round: number): Promise<Exit> {
  const b = await run(s, "crun", `n-${round}`, NAP);
  const [container] = (await s.monitor.snapshot()).filter(({ id }) => id === b.id);
  const [ns = Number.NaN, begunUs = Number.NaN] = await watch.ask("kill", container?.pid ?? 0);
  const [ended] = (await s.monitor.snapshot()).filter(({ id }) => id === b.id);
  await remove(s, b);
  return { told: ns / 1e6, seen: Number((ended?.exitedNs ?? 0n) / 1000n) / 1e3 - begunUs / 1e3 };
}

async function conmonExit(s: Sandbox, watch: Stopwatch, round: number): Promise<number> {
  const b = bundle(s.place, "crun", `c-${round}`, NAP);
  const { conmon, pid, exitDir } = await conmonCreate(watch, b);
  await watch.ask("spawn", ...runtimeCall(b, "start"));
  const [ns = Number.NaN] = await watch.ask("gone", conmon, pid, exitDir);
  await watch.ask("spawn", ...runtimeCall(b, "delete", "--force"));
  return ns / 1e6;
}

import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { type Bundle, bundle, run, type Sandbox } from "../../native/test/monitor-fixture.ts";
import { conmonCreate, runtimeCall } from "./conmon.ts";
import type { Row } from "./table.ts";
import type { Workbench } from "./workbench.ts";

const NAP = ["sleep", "100000"];
const IDLE_SECONDS = 10;
const IDLE_PODS = 10;
/** After so long a monitor has given back what its start took, and looks no longer whether its log's disk answers. */
const SETTLE_MS = 12_000;

/** Pods of one idle container each: the memory that is theirs, and how often their monitors are woken. */
export async function pods(bench: Workbench): Promise<readonly Row[]> {
  const count = bench.extent.pods;
  await using owned = new AsyncDisposableStack();
  const conmon = owned.use(bench.stopwatch());
  const sandboxes: Sandbox[] = [];
  const conmons: number[] = [];
  const held: Bundle[] = [];
  for (let i = 0; i < count; i++) {
    const sandbox = owned.use(await bench.node.sandbox());
    sandboxes.push(sandbox);
    await run(sandbox, "crun", "n", NAP);
    const b = bundle(sandbox.place, "crun", "c", NAP);
    const { conmon: pid } = await conmonCreate(conmon, b);
    await conmon.ask("spawn", ...runtimeCall(b, "start"));
    conmons.push(pid);
    held.push(b);
  }
  await delay(SETTLE_MS);
  const monitors = sandboxes.map(({ place }) => place.pid);
  const before = switches(monitors.slice(0, IDLE_PODS));
  await delay(IDLE_SECONDS * 1e3);
  const woken = (switches(monitors.slice(0, IDLE_PODS)) - before) / IDLE_SECONDS;
  const rows: Row[] = [
    { what: `memory (PSS) per pod of ${count}`, unit: "kB", ...means(monitors, conmons), target: { most: 120 } },
    { what: "  the launcher, besides", unit: "kB", ours: pss(bench.node.pid) },
    { what: `wake-ups per second, ${IDLE_PODS} idle monitors`, unit: "", ours: woken, target: { most: 0 } },
  ];
  for (const b of held) await conmon.ask("spawn", ...runtimeCall(b, "delete", "--force"));
  return rows;
}

function means(ours: readonly number[], theirs: readonly number[]): { readonly ours: number; readonly theirs: number } {
  const mean = (pids: readonly number[]) => pids.reduce((sum, pid) => sum + pss(pid), 0) / pids.length;
  return { ours: mean(ours), theirs: mean(theirs) };
}

function pss(pid: number): number {
  return Number(/^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1]);
}

/** How often threads were given a processor: each wake-up is one, and looking at the counters costs none. */
function switches(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + threads(pid).reduce((more, status) => more + switchesOf(status), 0), 0);
}

function threads(pid: number): string[] {
  return readdirSync(`/proc/${pid}/task`).map((thread) => readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8"));
}

function switchesOf(status: string): number {
  const found = [...status.matchAll(/^(?:non)?voluntary_ctxt_switches:\s+(\d+)$/gm)];
  return found.reduce((sum, [, count]) => sum + Number(count), 0);
}

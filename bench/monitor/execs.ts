import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { type Bundle, execRequest, openFds, remove, run, type Sandbox } from "../../native/test/monitor-fixture.ts";
import type { Row } from "./table.ts";
import type { Workbench } from "./workbench.ts";

const AT_ONCE = 4;
const FIRST = 100;
/** After so long a monitor has given back what it has no use for. */
const SETTLE_MS = 3_000;
/** What the kernel's own tables may add; a kilobyte per exec would be ten megabytes. */
const FLAT_KB = 64;

interface Size {
  readonly rss: number;
  readonly descriptors: number;
  readonly zombies: number;
}

/** What a monitor holds after many execs, above what it held after the first hundred; a tenth of them by crun, the rest by a runtime of one fork. */
export async function execs(bench: Workbench): Promise<readonly Row[]> {
  using sandbox = await bench.node.sandbox();
  const b = await run(sandbox, "crun", "n", ["sleep", "100000"]);
  const quick = { ...b, runtime: bench.quick };
  const real = Math.floor(bench.extent.execs / 10);
  await repeat(FIRST, () => once(sandbox, b));
  const before = await size(sandbox);
  await repeat(real - FIRST, () => once(sandbox, b));
  await repeat(bench.extent.execs - real, () => once(sandbox, quick));
  const after = await size(sandbox);
  await remove(sandbox, b);
  const grown = (what: keyof Size) => after[what] - before[what];
  return [
    {
      what: `memory (RSS) added by ${bench.extent.execs} execs`,
      unit: "kB",
      ours: grown("rss"),
      target: { most: FLAT_KB },
    },
    { what: "  after the first hundred", unit: "kB", ours: before.rss },
    { what: "  descriptors added", unit: "", ours: grown("descriptors"), target: { most: 0 } },
    { what: "  zombies", unit: "", ours: after.zombies, target: { most: 0 } },
  ];
}

async function once(s: Sandbox, b: Bundle): Promise<void> {
  const { outcome, status } = await s.monitor.execSync(b.id, execRequest(b, ["true"]));
  if (outcome !== "exited" || status !== 0) throw new Error(`an exec ended: ${outcome} ${status}`);
}

async function repeat(count: number, deed: () => Promise<void>): Promise<void> {
  let left = count;
  const worker = async () => {
    while (left > 0) {
      left -= 1;
      await deed();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

async function size(s: Sandbox): Promise<Size> {
  await delay(SETTLE_MS);
  const rollup = readFileSync(`/proc/${s.place.pid}/smaps_rollup`, "utf8");
  return {
    rss: Number(/^Rss:\s+(\d+) kB$/m.exec(rollup)?.[1]),
    descriptors: openFds(s),
    zombies: children(s.place.pid).filter((state) => state === "Z").length,
  };
}

function children(parent: number): string[] {
  const stats = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(statOf);
  return stats
    .map((text) => text.slice(text.lastIndexOf(")") + 2).split(" "))
    .filter(([, of]) => Number(of) === parent)
    .map(([state = ""]) => state);
}

function statOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return ""; // gone meanwhile
  }
}

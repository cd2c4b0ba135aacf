import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { requireIsolation } from "../conformance/harness/isolation.ts";
import { creates } from "./monitor/creates.ts";
import { execs } from "./monitor/execs.ts";
import { exits } from "./monitor/exits.ts";
import { integrity } from "./monitor/integrity.ts";
import { logs } from "./monitor/logs.ts";
import { pods } from "./monitor/pods.ts";
import { isMet, type Row, tableOf } from "./monitor/table.ts";
import { Workbench } from "./monitor/workbench.ts";

/** `script/bench monitor`: what a monitor costs and how fast it is, beside Debian's conmon in the same run. */
const figures: Readonly<Record<string, (bench: Workbench) => Promise<readonly Row[]>>> = {
  logs,
  integrity,
  pods,
  exits,
  creates,
  execs,
};

const { values } = parseArgs({
  options: {
    only: { type: "string", multiple: true, default: Object.keys(figures) },
    rounds: { type: "string", default: "5" },
    megabytes: { type: "string", default: "1000" },
    pods: { type: "string", default: "30" },
    samples: { type: "string", default: "200" },
    kills: { type: "string", default: "1000" },
    execs: { type: "string", default: "10000" },
  },
});
const say = (line: string) => process.stdout.write(`${line}\n`);
const unknown = values.only.filter((name) => figures[name] === undefined);
if (unknown.length > 0)
  throw new Error(`no figure ${unknown.join(", ")}; there are: ${Object.keys(figures).join(" ")}`);

await requireIsolation();
const extent = {
  rounds: Number(values.rounds),
  megabytes: Number(values.megabytes),
  pods: Number(values.pods),
  samples: Number(values.samples),
  kills: Number(values.kills),
  execs: Number(values.execs),
};
await using bench = await Workbench.start(extent, say);
say(`logs in ${bench.node.dir} on ${bench.fileSystem}; load ${loadavg()[0]?.toFixed(1)}`);
const rows: Row[] = [];
for (const name of values.only) {
  const begin = performance.now();
  rows.push(...((await figures[name]?.(bench)) ?? []));
  say(`${name}: ${((performance.now() - begin) / 1e3).toFixed(0)} s; load ${loadavg()[0]?.toFixed(1)}`);
}
say(tableOf(rows));
if (!rows.every(isMet)) process.exitCode = 1;

import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { Daemon } from "../harness/process.ts";
import { tool, toolsFolder } from "../harness/tools.ts";
import { parseReport, type SpecResult } from "./junit.ts";

const results = join(import.meta.dirname, "../../build/test");
const suiteTimeout = "8m";

/** One run of critest. Without `specs` it is a dry run over the whole suite. */
export interface CritestRun {
  readonly name: string;
  readonly endpoint: string;
  /** Passed to RunPodSandbox; empty for the server's default. */
  readonly handler: string;
  readonly processes: number;
  readonly specs?: readonly string[];
  /** Further flags. */
  readonly options?: readonly string[];
}

/** Runs critest unmodified and answers what its report says. What it printed stays in `build/test/critest.<name>.log`. */
export async function runCritest(run: CritestRun): Promise<SpecResult[]> {
  await mkdir(results, { recursive: true });
  const log = join(results, `critest.${run.name}.log`);
  const report = join(results, `critest.${run.name}.xml`);
  await rm(log, { force: true });
  await rm(report, { force: true });
  const env = { ...process.env, PATH: `${toolsFolder}:${process.env.PATH}` };
  await using critest = await Daemon.start([tool("critest"), ...flags(run, report)], log, env);
  const end = await critest.exited();
  const xml = await readFile(report, "utf8").catch(() => undefined);
  if (xml === undefined) throw new Error(`critest wrote no report (${end}):\n${await critest.tail()}`);
  return parseReport(xml);
}

function flags(run: CritestRun, report: string): string[] {
  const common = [
    `--runtime-endpoint=${run.endpoint}`,
    `--image-endpoint=${run.endpoint}`,
    `--runtime-handler=${run.handler}`,
    ...(run.processes > 1 ? [`--parallel=${run.processes}`] : []),
    "--ginkgo.no-color",
    `--ginkgo.timeout=${suiteTimeout}`,
    `--ginkgo.junit-report=${report}`,
    ...(run.options ?? []),
  ];
  if (run.specs === undefined) return [...common, "--ginkgo.dry-run"];
  // The report adds "[Serial]" to names; what Ginkgo matches does not have it.
  const names = run.specs.map((name) => RegExp.escape(name.replace(/ \[Serial\]$/, "")));
  return [...common, `--ginkgo.focus=(${names.join("|")})$`];
}

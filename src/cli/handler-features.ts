import { readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { type HandlerFeatures, type RuntimeHandler, UNKNOWN_FEATURES } from "../oci/handler.ts";
import type { HostFacts } from "../oci/spec/input.ts";
import { type HandlerEntry, Handlers } from "../sandbox/handlers.ts";
import { kernelProblem, type TrialPorts, type TrialResult, tryHandler } from "./handler-trial.ts";
import { usersProblemOf } from "./runtime-handlers.ts";
import { nacelleVersion } from "./version-command.ts";

export interface FeaturePorts extends TrialPorts {
  readonly log: Log;
  /** Of uname(2). */
  readonly kernelRelease: string;
  readonly kernel: HostFacts["kernel"];
}

type Results = Readonly<Record<string, TrialResult>>;

/** What trials showed, by what they depend on. */
interface Shown {
  /** Where user namespaces could be had; absent: nowhere. */
  readonly kernel?: string;
  readonly runtimes: Results;
}

/**
 * Completes what runtimes said of themselves: what this kernel cannot do no runtime can, and one that says nothing is tried
 * once. Results are kept in the state root for as long as runtime, kernel and nacelle are the same.
 */
export async function completeFeatures(handlers: Handlers, ports: FeaturePorts): Promise<Handlers> {
  const { paths, kernelRelease, log } = ports;
  const file = join(paths.root, "trials.json");
  const before = await readShown(file);
  const kernel = [(await stat(paths.root)).dev, kernelRelease, nacelleVersion].join(" ");
  const problem = before.kernel === kernel ? "" : await kernelProblem(ports);
  if (problem !== "") log.warn(problem);
  const shown: Record<string, TrialResult> = {};
  const entries: HandlerEntry[] = [];
  // One after the other: there are few, and each is tried once.
  for (const entry of handlers.list()) {
    const found = await featuresOf(entry, before.runtimes, shown, ports);
    const features = {
      ...found,
      recursiveReadOnlyMounts: found.recursiveReadOnlyMounts && hasRecursiveReadOnly(ports),
    };
    const usersProblem = entry.problem || usersProblemOf(entry.handler, features) || problem;
    entries.push({ ...entry, features, usersProblem });
  }
  const after = { ...(problem === "" ? { kernel } : {}), runtimes: shown };
  await writeShown(file, before, after).catch((error: unknown) => {
    log.warn("what the runtimes can do is not kept", { file, error: messageOf(error) });
  });
  return new Handlers(entries, handlers.defaultName);
}

/** mount_setattr(2) is of Linux 5.12. */
function hasRecursiveReadOnly({ kernel: [major, minor] }: FeaturePorts): boolean {
  return major > 5 || (major === 5 && minor >= 12);
}

/** What it says of itself counts, where it says anything; a trial shows the rest. */
async function featuresOf(
  { handler, features, problem }: HandlerEntry,
  before: Results,
  shown: Record<string, TrialResult>,
  ports: FeaturePorts,
): Promise<HandlerFeatures> {
  if (problem !== "") return features;
  const says = features !== UNKNOWN_FEATURES;
  if (says && usersProblemOf(handler, features) !== "") return features;
  const { recursiveReadOnlyMounts, userNamespaces, wholeBindsWithUsers } = await resultOf(
    handler,
    before,
    shown,
    ports,
  );
  if (says) return { ...features, wholeBindsWithUsers };
  return { ...features, recursiveReadOnlyMounts, userNamespaces, idmappedMounts: userNamespaces, wholeBindsWithUsers };
}

const nothing: TrialResult = { recursiveReadOnlyMounts: false, userNamespaces: false, wholeBindsWithUsers: false };

async function resultOf(
  handler: RuntimeHandler,
  before: Results,
  shown: Record<string, TrialResult>,
  ports: FeaturePorts,
): Promise<TrialResult> {
  const { name, path, args } = handler;
  const key = [await identity(path), ...args, ports.kernelRelease, nacelleVersion].join(" ");
  let isWhole = true;
  const report = (feature: string, reason: string) => {
    isWhole = false;
    ports.log.warn("a runtime was tried and lacks a feature", { runtime: name, path, feature, reason });
  };
  const result =
    before[key] ??
    (await tryHandler(ports, handler, report).catch((error: unknown) => {
      report("any", messageOf(error));
      return nothing;
    }));
  // What failed is tried again at the next start, because the reason may be gone by then.
  if (isWhole) shown[key] = result;
  return result;
}

/** Another one after an upgrade of the runtime. */
async function identity(path: string): Promise<string> {
  const { ino, mtimeMs } = await stat(path);
  return `${path} ${ino} ${mtimeMs}`;
}

async function readShown(file: string): Promise<Shown> {
  try {
    // Ours alone, in a directory of root's, and small.
    return { runtimes: {}, ...JSON.parse(await readFile(file, "utf8")) };
  } catch {
    // Absent or damaged: everything is tried again.
    return { runtimes: {} };
  }
}

async function writeShown(file: string, before: Shown, shown: Shown): Promise<void> {
  if (JSON.stringify(before) === JSON.stringify(shown)) return;
  await writeFile(`${file}.new`, JSON.stringify(shown), { mode: 0o600 });
  await rename(`${file}.new`, file);
}

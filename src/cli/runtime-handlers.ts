import { access, constants } from "node:fs/promises";
import { delimiter, isAbsolute, join } from "node:path";
import type { Config, HandlerConfig } from "../config/schema.ts";
import type { Operations } from "../launcher/operations.ts";
import { messageOf } from "../lib/errors.ts";
import {
  execHelpArgs,
  featuresArgs,
  type HandlerFeatures,
  parseFeatures,
  type RuntimeHandler,
  takesExecCgroup,
  UNKNOWN_FEATURES,
} from "../oci/handler.ts";
import { type HandlerEntry, Handlers } from "../sandbox/handlers.ts";
import type { Paths } from "../sandbox/paths.ts";
import { runtimeEnvironment } from "../sandbox/runtime-calls.ts";

/** Finds each configured runtime and asks it what it can do. One that is missing is unusable, and only for pods that ask for it. */
export async function findHandlers(config: Config, paths: Paths, operations: Operations): Promise<Handlers> {
  const names = Object.entries(config.runtimes);
  const entries = await Promise.all(names.map(([name, handler]) => findHandler(name, handler, paths, operations)));
  return new Handlers(entries, config.defaultRuntime);
}

async function findHandler(
  name: string,
  config: HandlerConfig,
  paths: Paths,
  operations: Operations,
): Promise<HandlerEntry> {
  const path = await findExecutable(config.path);
  const handler: RuntimeHandler = {
    ...config,
    name,
    path: path ?? config.path,
    root: config.root === "" ? paths.runtimeRoot(name) : config.root,
    systemdCgroup: false,
  };
  if (path === undefined) {
    const problem = `runtime handler ${name}: there is no executable ${config.path}; install it or set runtimes.${name}.path`;
    return unusable(handler, problem);
  }
  try {
    const features = await askFeatures(handler, operations);
    const execCgroups = await hasExecCgroups(handler, operations);
    return { handler, features, problem: "", usersProblem: usersProblemOf(handler, features), execCgroups };
  } catch (error) {
    const problem = `runtime handler ${name}: ${path} cannot be run: ${messageOf(error)}; set runtimes.${name}.path`;
    return unusable(handler, problem);
  }
}

function unusable(handler: RuntimeHandler, problem: string): HandlerEntry {
  return { handler, features: UNKNOWN_FEATURES, problem, usersProblem: problem, execCgroups: false };
}

/** Why a runtime that says so of itself cannot do it; a host that cannot is not its concern. */
export function usersProblemOf({ name, path }: RuntimeHandler, features: HandlerFeatures): string {
  if (features.userNamespaces && features.idmappedMounts) return "";
  const what = features.userNamespaces ? "id-mapped mounts" : "user namespaces";
  return `runtime handler ${name}: ${path} has no ${what} (runc has both from 1.2 on, crun from 1.8 on)`;
}

/** Runtimes without a `features` command (crun before 1.9) fail; they are used with what every runtime can do. */
async function askFeatures(handler: RuntimeHandler, operations: Operations): Promise<HandlerFeatures> {
  const result = await ask(handler, "features", featuresArgs(handler), operations);
  if (result.outcome !== "exited" || result.status !== 0) return UNKNOWN_FEATURES;
  try {
    return parseFeatures(handler.name, result.stdout.toString());
  } catch {
    return UNKNOWN_FEATURES;
  }
}

/** Help goes to one output or the other, with one exit code or another. */
async function hasExecCgroups(handler: RuntimeHandler, operations: Operations): Promise<boolean> {
  const { stdout, stderr } = await ask(handler, "exec --help", execHelpArgs(handler), operations);
  return takesExecCgroup(`${stdout}${stderr}`);
}

function ask(handler: RuntimeHandler, what: string, argv: readonly string[], operations: Operations) {
  const { name } = handler;
  return operations.run({ owner: name, what: `${name} ${what}`, deadlineMs: 10_000, argv, env: runtimeEnvironment });
}

/** The absolute path of an executable given by path or by name; `undefined` when there is none. */
export async function findExecutable(name: string): Promise<string | undefined> {
  const dirs = (process.env.PATH ?? "").split(delimiter).filter(isAbsolute);
  const candidates = name.includes("/")
    ? [name]
    : [...dirs, "/usr/local/sbin", "/usr/sbin", "/sbin"].map((dir) => join(dir, name));
  for (const candidate of candidates) {
    const found = await access(candidate, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return candidate;
  }
  return undefined;
}

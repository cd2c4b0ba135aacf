import type { Operations } from "../launcher/operations.ts";
import { pickOciVersion } from "../oci/handler.ts";
import type { HandlerEntry, Handlers } from "../sandbox/handlers.ts";
import { runtimeEnvironment } from "../sandbox/runtime-calls.ts";
import { type CheckLine, fail, ok, warn } from "./check-line.ts";

const VERSION_MS = 10_000;

/** Each configured runtime: is it there, does it run, which specs does it take. */
export function checkRuntimes(handlers: Handlers, operations: Operations): Promise<readonly CheckLine[]> {
  return Promise.all(handlers.list().map((entry) => checkRuntime(entry, handlers.defaultName, operations)));
}

async function checkRuntime(
  { handler: { name, path }, features, problem }: HandlerEntry,
  defaultName: string,
  operations: Operations,
): Promise<CheckLine> {
  const what = name === defaultName ? `runtime ${name} (default)` : `runtime ${name}`;
  // Without the default one most pods cannot run; of the others only those that ask for it.
  const bad = name === defaultName ? fail : warn;
  if (problem !== "") return bad(what, `there is no ${path}`, `install ${name}, or set runtimes.${name}.path`);
  const version = await versionOf(name, path, operations);
  if (version === undefined) return bad(what, `${path} --version fails`, `run it and see; reinstall ${name}`);
  return ok(what, `${path}, ${version}, specs of ${pickOciVersion(features)}`);
}

async function versionOf(name: string, path: string, operations: Operations): Promise<string | undefined> {
  const request = { owner: name, what: `${name} --version`, deadlineMs: VERSION_MS };
  const run = operations.run({ ...request, argv: [path, "--version"], env: runtimeEnvironment });
  const result = await run.catch(() => undefined);
  if (result?.outcome !== "exited" || result.status !== 0) return undefined;
  return result.stdout.toString().split("\n", 1)[0]?.slice(0, 80);
}

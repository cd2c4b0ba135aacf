import { posix } from "node:path";
import type { Operations } from "../launcher/operations.ts";
import { failedPrecondition, hasCode, invalidArgument } from "../lib/errors.ts";
import { checkpointHelpArgs, type RuntimeHandler } from "../oci/handler.ts";
import { runtimeEnvironment } from "../sandbox/runtime-calls.ts";

const LOOK_MS = 10_000;

/** Throws `failedPrecondition` that says what is missing for checkpoints and what cures it. Resolves with the path of tar. */
export async function requireCheckpoints(
  operations: Operations,
  handler: RuntimeHandler,
  owner: string,
): Promise<string> {
  const criu = await findExecutable(operations, "criu", owner);
  if (criu === undefined) {
    throw failedPrecondition(
      `checkpoints need criu, which is not in ${runtimeEnvironment["PATH"]}: install the package criu`,
    );
  }
  const tar = await findExecutable(operations, "tar", owner);
  if (tar === undefined) {
    throw failedPrecondition(
      `checkpoints need tar, which is not in ${runtimeEnvironment["PATH"]}: install the package tar`,
    );
  }
  if (!(await succeeds(operations, checkpointHelpArgs(handler), owner)).ok) {
    const remedy = "use a runtime handler whose runtime has it";
    throw failedPrecondition(`runtime handler ${handler.name} (${handler.path}) has no checkpoint command: ${remedy}`);
  }
  const check = await succeeds(operations, [criu, "check"], owner);
  if (check.ok) return tar;
  const remedy = "install a criu that knows this kernel";
  throw failedPrecondition(`${criu} cannot work here, says its own check: ${check.said}; ${remedy}`);
}

/** Throws `invalidArgument` unless a file can be made there without following a symbolic link. */
export async function requireLocation(operations: Operations, location: string, owner: string): Promise<void> {
  const parent = posix.dirname(location);
  const options = { owner, what: "looking at the checkpoint's location", deadlineMs: LOOK_MS };
  const looked = operations.perform(
    [
      { op: "realpath", path: parent },
      { op: "stat", path: parent },
    ],
    options,
  );
  const [real = "", kind = ""] = (await looked.catch(absent)).map(String);
  if (!kind.startsWith("d ")) {
    throw invalidArgument(`location: ${parent} is not a directory: make it first`, { field: "location" });
  }
  if (real === parent) return;
  throw invalidArgument(`location: ${parent} is reached through a symbolic link: name it as ${real}`, {
    field: "location",
  });
}

function absent(error: unknown): readonly Buffer[] {
  if (hasCode(error, "ENOENT") || hasCode(error, "ENOTDIR") || hasCode(error, "ELOOP")) return [];
  throw error;
}

async function findExecutable(operations: Operations, name: string, owner: string): Promise<string | undefined> {
  for (const folder of (runtimeEnvironment["PATH"] ?? "").split(":")) {
    const path = posix.join(folder, name);
    const options = { owner, what: `looking for ${name}`, deadlineMs: LOOK_MS };
    try {
      await operations.perform([{ op: "stat", path }], options);
      return path;
    } catch (error) {
      if (!hasCode(error, "ENOENT") && !hasCode(error, "ENOTDIR")) throw error;
    }
  }
  return undefined;
}

/** Whether it exits with 0, and what it said first if not: what follows is mostly a consequence. */
async function succeeds(operations: Operations, argv: readonly string[], owner: string) {
  const request = { owner, what: argv.slice(0, 2).join(" "), deadlineMs: LOOK_MS, argv, env: runtimeEnvironment };
  const { outcome, status, stdout, stderr } = await operations.run(request);
  const [said = ""] = `${stderr}\n${stdout}`.trim().split("\n");
  return { ok: outcome === "exited" && status === 0, said };
}

import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { join } from "node:path";
import { failedPrecondition } from "../lib/errors.ts";
import type { NetworkList } from "./network-config.ts";

/** The absolute path of plugin `type`: the first executable file of that name in `binDirs`, or nothing. */
export async function findPlugin(type: string, binDirs: readonly string[]): Promise<string | undefined> {
  for (const directory of binDirs) {
    const path = join(directory, type);
    if (await isExecutable(path)) return path;
  }
  return undefined;
}

/**
 * One path for each plugin of `list`, in its order. Throws `failedPrecondition` naming every
 * executable that is missing, those for address management included.
 */
export async function findPlugins(list: NetworkList, binDirs: readonly string[]): Promise<readonly string[]> {
  const paths = await Promise.all(list.plugins.map(({ type }) => findPlugin(type, binDirs)));
  const missing = list.plugins.filter((_, index) => paths[index] === undefined).map(({ type }) => type);
  for (const { ipamType } of list.plugins) {
    if (ipamType !== undefined && (await findPlugin(ipamType, binDirs)) === undefined) missing.push(ipamType);
  }
  const found = paths.filter((path) => path !== undefined);
  if (missing.length === 0) return found;
  const names = [...new Set(missing)].map((type) => JSON.stringify(type)).join(", ");
  throw failedPrecondition(
    `CNI network ${JSON.stringify(list.name)} needs ${names}, not found in ${binDirs.join(", ")}: install the plugin or add its directory to cni.binDirs`,
  );
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    if (!(await stat(path)).isFile()) return false;
    await access(path, constants.X_OK);
    return true;
  } catch {
    // Absent, not permitted, a dangling link: to a search all of these mean "not here".
    return false;
  }
}

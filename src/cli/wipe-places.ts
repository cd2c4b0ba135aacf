import { execFile } from "node:child_process";
import { readdir, readFile, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { cgroupDirectories, normalPath, parseCgroups } from "../cgroup/cgroup.ts";
import type { Config } from "../config/schema.ts";
import { hasCode } from "../lib/errors.ts";
import { Paths } from "../sandbox/paths.ts";
import { cgroupOf } from "./open-node.ts";
import { mountPoints } from "./wipe-leftovers.ts";
import type { WipeTally } from "./wipe-tally.ts";

const run = promisify(execFile);
/** A monitor may take a second for what is on its way into logs; then it ends as soon as it has a processor. */
const REAPED_MS = 10_000;
const POLL_MS = 20;

/**
 * Removes the places where nacelle keeps things, once its own processes are gone: run directory, cgroups, and, when
 * `isStateGone`, state and layers. A directory that holds what is not ours stays.
 */
export async function removePlaces(config: Config, isStateGone: boolean, tally: WipeTally): Promise<void> {
  const paths = new Paths(config);
  if (tally.problems > 0) return;
  await removeMountPoints(paths, tally);
  for (const path of await mountedBelow([config.runDir, config.root])) {
    tally.failed(path, "it is mounted: unmount it, its content is not ours to delete");
  }
  if (tally.problems > 0) return;
  await removeRunDir(config, paths, tally);
  await removeCgroups(config);
  if (isStateGone) await removeRoot(config, tally);
  else await remove(tally, paths.pauseRootfs);
}

async function mountedBelow(directories: readonly string[]): Promise<readonly string[]> {
  const points = mountPoints(await readFile("/proc/self/mountinfo", "utf8"));
  return points.filter((path) => directories.some((directory) => path.startsWith(`${directory}/`)));
}

/** `mounts` is ours. `netnsDir` may be shared with `ip netns`: its mount goes when nothing is pinned there any more. */
async function removeMountPoints({ mounts, netnsDir }: Paths, tally: WipeTally): Promise<void> {
  const points = mountPoints(await readFile("/proc/self/mountinfo", "utf8"));
  if (points.includes(mounts)) await unmount(mounts, tally);
  const pins = await readdir(netnsDir).catch(() => undefined);
  if (points.includes(netnsDir) && pins?.length === 0) await unmount(netnsDir, tally);
}

/** Node has no umount(2), and the launcher has ended by now. */
async function unmount(path: string, tally: WipeTally): Promise<void> {
  try {
    await run("umount", [path], { timeout: 30_000 });
  } catch (error) {
    tally.failed(`unmounting ${path}`, error);
  }
}

async function removeRunDir({ runDir, listen }: Config, { mounts }: Paths, tally: WipeTally): Promise<void> {
  await remove(tally, mounts);
  for (const name of ["m", "p", "u", "ops", "runtime", "launcher", "admin.sock"])
    await remove(tally, join(runDir, name));
  await rm(listen, { force: true }); // nobody serves it: that was asked first
  await removeIfEmpty(runDir);
}

/**
 * Those of the launcher and monitors, at the root and where the launcher of this wipe may have had its own, and the parent of
 * pods that name none; never one that is in use. What is below a service is systemd's, which removes it with the unit's.
 */
async function removeCgroups({ runDir, cgroupParent }: Config): Promise<void> {
  const layout = parseCgroups(await readFile("/proc/self/mountinfo", "utf8"));
  const name = cgroupOf(runDir);
  const places = ["/", ...ownCgroups(await readFile("/proc/self/cgroup", "utf8"))].map((place) => join(place, name));
  const deadline = performance.now() + REAPED_MS;
  for (const path of places.flatMap((place) => [join(place, "ops"), join(place, "monitors"), place])) {
    for (const directory of cgroupDirectories(layout, path)) await removeLeftCgroup(directory, deadline);
  }
  const parent = normalPath(cgroupParent);
  for (const directory of cgroupDirectories(layout, parent)) await removeIfEmpty(directory);
}

/** Where service managers keep this process, from the text of /proc/self/cgroup. */
function ownCgroups(text: string): readonly string[] {
  const paths = [...text.matchAll(/^\d+:(?:name=systemd)?:(\/.+)$/gm)].map(([, path = ""]) => path);
  return [...new Set(paths)].filter((path) => !path.startsWith("/.."));
}

/** Its processes end; until each is reaped, by whoever is its parent now, the kernel calls it busy. */
async function removeLeftCgroup(directory: string, deadline: number): Promise<void> {
  while (!(await removeIfEmpty(directory)) && performance.now() < deadline) await delay(POLL_MS);
}

async function removeRoot({ root }: Config, tally: WipeTally): Promise<void> {
  const names = await readdir(root).catch(() => []);
  const ours =
    /^(?:state\.db.*|owner(?:\.new)?|trials\.json(?:\.new)?|reserve|layers|containers|checkpoints|exits|pause)$/;
  for (const name of names.filter((one) => ours.test(one))) await remove(tally, join(root, name));
  await removeIfEmpty(root);
}

async function remove(tally: WipeTally, path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    tally.failed(path, error);
  }
}

/** Resolves with whether it is gone. */
async function removeIfEmpty(directory: string): Promise<boolean> {
  try {
    await rmdir(directory);
    return true;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return true;
    const stays = ["ENOTEMPTY", "EEXIST", "EBUSY", "EPERM", "EROFS"];
    if (stays.some((code) => hasCode(error, code))) return false;
    throw error;
  }
}

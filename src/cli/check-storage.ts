import { mkdtemp, rm, stat, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Operation, Operations } from "../launcher/operations.ts";
import { hasCode, messageOf } from "../lib/errors.ts";
import { type CheckLine, fail, ok, warn } from "./check-line.ts";
import { bytes } from "./status-page.ts";

const MIB = 1024 * 1024;
const TRIAL_MS = 30_000;

/** Numbers of statfs(2), in bytes and inodes. `inodes` is 0 where the file system has no such limit. */
export interface Space {
  readonly bytes: number;
  readonly freeBytes: number;
  readonly inodes: number;
  readonly freeInodes: number;
}

/** Whether a file system has room for what is kept there. Pure. */
export function checkSpace(key: string, path: string, space: Space, needBytes: number): CheckLine {
  const found = `${bytes(space.freeBytes)} of ${bytes(space.bytes)} free at ${path}`;
  const remedy = `free space there, or set ${key} to another file system`;
  if (space.freeBytes < needBytes) return fail(`space in ${key}`, found, remedy);
  if (space.inodes > 0 && space.freeInodes < 10_000) {
    return warn(`space in ${key}`, `only ${space.freeInodes} inodes free at ${path}`, remedy);
  }
  if (space.freeBytes < 10 * needBytes) return warn(`space in ${key}`, found, remedy);
  return ok(`space in ${key}`, found);
}

/** Space and inodes of state and run files, and a real overlay mount beside the state. */
export async function checkStorage(
  { root, runDir }: { readonly root: string; readonly runDir: string },
  operations: Operations,
): Promise<readonly CheckLine[]> {
  const [rootPath, runPath] = await Promise.all([nearestExisting(root), nearestExisting(runDir)]);
  return [
    checkSpace("root", rootPath, await spaceOf(rootPath), 256 * MIB),
    checkSpace("runDir", runPath, await spaceOf(runPath), 4 * MIB),
    await checkOverlay(rootPath, operations),
  ];
}

/** Mounts an overlay as for a container and deletes a lower file, which takes a whiteout. Leaves nothing behind. */
async function checkOverlay(parent: string, operations: Operations): Promise<CheckLine> {
  const remedy = "set root to a local file system like ext4 or xfs (with ftype=1), not on overlay, NFS or FUSE";
  let directory: string;
  try {
    directory = await mkdtemp(join(parent, ".nacelle-check-"));
  } catch (error) {
    return fail("root", messageOf(error), "make it writable, or set root to another place");
  }
  const owner = { owner: "check", what: "a trial overlay mount", deadlineMs: TRIAL_MS };
  const merged = join(directory, "merged");
  try {
    const results = await operations.perform(trial(directory, merged), owner);
    const whiteout = results.at(-1)?.toString() ?? "";
    if (whiteout.startsWith("c ")) return ok("overlay", `works at ${parent}`);
    return fail("overlay", `whiteouts do not work at ${parent}`, remedy);
  } catch (error) {
    // Where it is a module that is not loaded yet, this very mount has the kernel load it.
    const missing = hasCode(error, "ENODEV");
    const found = `does not work at ${parent}: ${messageOf(error)}`;
    return fail("overlay", found, missing ? "use a kernel with CONFIG_OVERLAY_FS, its modules installed" : remedy);
  } finally {
    await operations.perform([{ op: "unmount", target: merged }], owner).catch(() => undefined);
    await rm(directory, { recursive: true, force: true });
  }
}

function trial(directory: string, merged: string): readonly Operation[] {
  const folders = ["lower", "upper", "work", "merged"].map((name) => join(directory, name));
  const data = "lowerdir=lower,upperdir=upper,workdir=work,volatile";
  return [
    ...folders.map((path) => ({ op: "mkdir", path, mode: 0o755 }) as const),
    { op: "writeFile", path: join(directory, "lower/file"), mode: 0o644, data: Buffer.from("x") },
    { op: "mount", source: "overlay", target: merged, type: "overlay", flags: 0, data, chdir: directory },
    { op: "unlink", path: join(merged, "file") },
    { op: "stat", path: join(directory, "upper/file") },
  ];
}

async function spaceOf(path: string): Promise<Space> {
  const { bsize, blocks, bavail, files, ffree } = await statfs(path);
  return { bytes: bsize * blocks, freeBytes: bsize * bavail, inodes: files, freeInodes: ffree };
}

/** Where a directory is, or would be made. */
export async function nearestExisting(path: string): Promise<string> {
  const found = await stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
  return found || path === "/" ? path : nearestExisting(dirname(path));
}

import type { Operation, Operations } from "../launcher/operations.ts";
import { hasCode, invalidArgument, messageOf } from "../lib/errors.ts";
import type { Paths } from "../sandbox/paths.ts";

/** Where runtimes mount first and then work by name, below what they take for their own mounts. */
const MOUNTPOINTS = ["proc", "sys", "dev"] as const;

const MOUNT_MS = 20_000;

/**
 * Makes, for `owner`, the directories in a container's root that its kernel file systems are mounted on, and refuses an
 * image that has anything else there: with a link in the place of /dev, runc 1.1 makes its own links where that leads on
 * the host (CVE-2026-41579). Throws `invalidArgument` naming the image's path.
 */
export async function requireMountpoints(
  { operations, paths }: { readonly operations: Operations; readonly paths: Paths },
  containerId: string,
  owner: { readonly uid: number; readonly gid: number },
): Promise<void> {
  const root = paths.rootfs(containerId);
  const make = MOUNTPOINTS.map((path): Operation => ({ op: "mkdirInRoot", root, path, mode: 0o755, owner }));
  const options = { owner: containerId, what: "making the mount points of the root file system", deadlineMs: MOUNT_MS };
  const made = await operations.perform(make, options).catch((error: unknown) => {
    if (!hasCode(error, "ENOTDIR") && !hasCode(error, "ELOOP")) throw error;
    throw invalidArgument(`the image's /proc, /sys or /dev is no directory: ${messageOf(error)}`);
  });
  for (const [index, path] of MOUNTPOINTS.entries()) {
    // What a link leads to is told as the path that it was resolved to.
    if (made[index]?.toString() === path) continue;
    throw invalidArgument(`the image's /${path} is a symbolic link: a runtime could be led out of the root by it`);
  }
}

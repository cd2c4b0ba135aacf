import { readFile } from "node:fs/promises";
import type { Operation, Operations } from "../launcher/operations.ts";
import { MS_BIND, MS_PRIVATE, MS_REC, MS_SHARED } from "../sys/mount-flags.ts";

/**
 * Makes the two directories that hold mounts: `mounts` private, so that nothing of ours appears in another mount
 * namespace and is kept alive there; `netnsDir` shared, as iproute2 makes it, so that CNI daemons see what is pinned.
 * Resolves with the mountinfo of then.
 */
export async function ensureMountPoints(operations: Operations, mounts: string, netnsDir: string): Promise<string> {
  const mountinfo = await readFile("/proc/self/mountinfo", "utf8");
  const make: Operation[] = [
    { op: "mkdir", path: mounts, mode: 0o711, parents: true },
    { op: "mkdir", path: netnsDir, mode: 0o755, parents: true },
  ];
  if (!mountinfo.includes(` ${mounts} `)) make.push(bindToItself(mounts));
  if (!mountinfo.includes(` ${netnsDir} `)) make.push(bindToItself(netnsDir));
  // In any case: what made the mount may have been killed before this.
  make.push(propagate(mounts, MS_PRIVATE), propagate(netnsDir, MS_SHARED));
  await operations.perform(make, { owner: "nacelle", what: "making mount points", deadlineMs: 30_000 });
  return mountinfo;
}

function bindToItself(path: string): Operation {
  return { op: "mount", source: path, target: path, type: "none", flags: MS_BIND | MS_REC, data: "" };
}

function propagate(path: string, how: number): Operation {
  return { op: "mount", source: "none", target: path, type: "none", flags: how | MS_REC, data: "" };
}

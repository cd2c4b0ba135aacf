import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Who uses a state root; written beside the database for the message to whoever else wants it. Not a lock. */
export interface Owner {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat. */
  readonly startTime: string;
  /** The socket it serves on, or what it does ("nacelle wipe"). */
  readonly listen: string;
}

export function writeOwner(root: string, owner: Owner): void {
  const path = join(root, "owner");
  writeFileSync(`${path}.new`, `${JSON.stringify(owner)}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

export function removeOwner(root: string): void {
  rmSync(join(root, "owner"), { force: true });
}

/** "process 12 (/run/nacelle/nacelle.sock)", or what can be said when the file is absent or damaged. Never throws. */
export function describeOwner(root: string): string {
  const owner = readOwner(root);
  return owner === undefined ? "another process" : `process ${owner.pid} (${owner.listen})`;
}

/** The owner as it wrote itself down; undefined when the file is absent or damaged. It may be gone: see `Owner`. */
export function readOwner(root: string): Owner | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(join(root, "owner"), "utf8").slice(0, 4096));
    return isOwner(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isOwner(value: unknown): value is Owner {
  if (typeof value !== "object" || value === null) return false;
  const { pid, startTime, listen }: Partial<Record<keyof Owner, unknown>> = value;
  return Number.isSafeInteger(pid) && typeof startTime === "string" && typeof listen === "string";
}

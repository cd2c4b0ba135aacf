import { once } from "node:events";
import { lstat, readdir, readFile, readlink, rm } from "node:fs/promises";
import { connect } from "node:net";
import { failedPrecondition, hasCode } from "../lib/errors.ts";

/** Longer than a live server needs to accept, which the kernel does for it. */
const ANSWER_MS = 2_000;

/**
 * Makes a path free to bind a socket to: removes a socket that nobody serves any more.
 *
 * @throws DomainError `failedPrecondition` when somebody does, naming him, or when it is no socket at all
 */
export async function claimSocket(path: string): Promise<void> {
  const found = await lstat(path).catch((error: unknown) => {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  });
  if (found === undefined) return;
  if (!found.isSocket()) throw failedPrecondition(`${path} exists and is not a socket: remove it or listen elsewhere`);
  if (!(await isServed(path))) return rm(path, { force: true });
  const owner = await ownerOf(path);
  throw failedPrecondition(
    `busy socket: ${path} is served by ${owner ?? "another process"}: stop that one or listen elsewhere`,
    { reason: "socketBusy" },
  );
}

async function isServed(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, "connect", { signal: AbortSignal.timeout(ANSWER_MS) });
    return true;
  } catch (error) {
    // ECONNREFUSED: bound once, closed since. ENOENT: gone meanwhile. All else means that somebody may be there.
    return !hasCode(error, "ECONNREFUSED") && !hasCode(error, "ENOENT");
  } finally {
    socket.destroy();
  }
}

/** "pid 12 (name)" of a process that holds the listening socket; `undefined` when /proc does not tell. */
async function ownerOf(path: string): Promise<string | undefined> {
  const inode = listeningInode(await readFile("/proc/net/unix", "utf8").catch(() => ""), path);
  if (inode === undefined) return undefined;
  const processes = (await readdir("/proc").catch(() => [])).filter((name) => /^\d+$/.test(name));
  for (const pid of processes) {
    if (!(await holds(pid, `socket:[${inode}]`))) continue;
    const name = await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "");
    return `pid ${pid} (${name.trim()})`;
  }
  return undefined;
}

/** Columns of /proc/net/unix: address, references, protocol, flags, type, state, inode, path. */
function listeningInode(table: string, path: string): string | undefined {
  const accepting = "00010000";
  for (const line of table.split("\n")) {
    const [, , , flags, , , inode, ...name] = line.trim().split(/\s+/);
    if (flags === accepting && name.join(" ") === path) return inode;
  }
  return undefined;
}

async function holds(pid: string, target: string): Promise<boolean> {
  const folder = `/proc/${pid}/fd`;
  const descriptors = await readdir(folder).catch(() => []);
  const targets = await Promise.all(descriptors.map((fd) => readlink(`${folder}/${fd}`).catch(() => "")));
  return targets.includes(target);
}

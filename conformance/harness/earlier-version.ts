import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { access, mkdir, mkdtemp, readFile, rename, rm, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { requireIsolation } from "./isolation.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");
const installed = join(root, "build/nacelle-native");

/**
 * What `conformance/fixtures` keeps of a version: its native binary, built here, and its client of monitors. The sources are
 * packed once the next version begins, when nothing is added to it any more: `native/Makefile`, `native/src`,
 * `package.json`, and of `src/monitor` and `src/lib` what the client is made of.
 */
export interface EarlierVersion {
  /** Path of its nacelle-native. */
  readonly native: string;
  /** The folder of its `src/monitor` and what that needs of `src/lib`. */
  readonly sources: string;
}

/** Built once per user and content, in the user's cache. Throws when the compiler or the sources are not there. */
export async function earlierVersion(version: string): Promise<EarlierVersion> {
  const archive = join(root, "conformance/fixtures", version, "sources.tar.gz");
  const digest = createHash("sha256")
    .update(await readFile(archive))
    .digest("hex");
  const cache = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "nacelle/versions");
  const folder = join(cache, `${version}-${digest.slice(0, 16)}`);
  await access(folder).catch(() => build(archive, cache, folder));
  return { native: join(folder, "build/nacelle-native"), sources: join(folder, "src") };
}

/** Whole or not at all: two builds at once, or one that is killed, leave no half-made folder. */
async function build(archive: string, cache: string, folder: string): Promise<void> {
  await mkdir(cache, { recursive: true });
  const work = await mkdtemp(`${folder}.`);
  try {
    await run("tar", ["-xzf", archive, "-C", work]);
    // What later compilers warn of is no reason not to build it.
    await run("make", ["-C", join(work, "native"), "warnings="]);
    await rename(work, folder).catch(() => access(folder));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** A native binary in the place of this checkout's, for servers that are started from now on in this mount namespace. */
export class InstalledNative implements AsyncDisposable {
  private constructor() {}

  /** Only inside `harness/isolate`. Disposing it brings the checkout's own back; what runs goes on running. */
  static async install(native: string): Promise<InstalledNative> {
    await requireIsolation();
    await run("mount", ["--bind", native, installed]);
    return new InstalledNative();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run("umount", ["--lazy", installed]);
  }
}

/** Whether a process runs this binary, by whatever path that was found when it was started. */
export async function runsBinary(pid: number, binary: string): Promise<boolean> {
  const [own, wanted] = await Promise.all([stat(`/proc/${pid}/exe`), stat(binary)]);
  return own.ino === wanted.ino && own.dev === wanted.dev;
}

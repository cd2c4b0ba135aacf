import { readlink } from "node:fs/promises";

/**
 * Throws unless `vm/run` or `harness/isolate` started this process. Of the latter its network namespace tells, which is not
 * the one that the machine began with, and PID 1, which is the isolating shell. A server under test would otherwise change
 * the machine's network.
 */
export async function requireIsolation(): Promise<void> {
  if (process.env.NACELLE_VM === "1") return;
  const marked = process.env.NACELLE_ISOLATED === "1";
  const own = await readlink("/proc/self/ns/net");
  const first = await readlink("/proc/1/ns/net").catch(() => "unreadable");
  if (!marked || own !== first) {
    throw new Error(
      "this changes mounts and networks: run it through conformance/harness/isolate, as script/test does",
    );
  }
}

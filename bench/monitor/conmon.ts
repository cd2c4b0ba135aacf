import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type Bundle, which } from "../../native/test/monitor-fixture.ts";
import type { Stopwatch } from "./stopwatch.ts";

/** A container that conmon holds. */
export interface Held {
  readonly ns: number;
  readonly pid: number;
  readonly conmon: number;
  readonly exitDir: string;
}

/** Creates a bundle's container by conmon, as a child of the stopwatch; with `sync` it syncs the log at its end, as is its default. */
export async function conmonCreate(stopwatch: Stopwatch, b: Bundle, sync = false): Promise<Held> {
  const exitDir = join(b.bundle, "exits");
  mkdirSync(exitDir);
  const words = [
    ...[which("conmon"), "--sync", "-c", b.id, "-u", b.id, "-n", b.id, "-r", b.runtime, "-b", b.bundle],
    ...[
      "-p",
      join(b.bundle, "pid"),
      "-l",
      `k8s-file:${b.logPath}`,
      "--exit-dir",
      exitDir,
      "--socket-dir-path",
      b.bundle,
    ],
    ...["--log-level", "error", "--runtime-arg", "--root", "--runtime-arg", b.root, ...(sync ? [] : ["--no-sync-log"])],
  ];
  const [ns = 0, pid = -1, conmon = 0] = await stopwatch.ask("sync", ...words);
  if (pid <= 0) throw new Error(`conmon could not create ${b.id}`);
  return { ns, pid, conmon, exitDir };
}

export function runtimeCall(b: Bundle, command: string, ...options: readonly string[]): readonly string[] {
  return [b.runtime, "--root", b.root, command, ...options, b.id];
}

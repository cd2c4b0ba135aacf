import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { ServerPaths } from "../harness/server.ts";

const executable = join(import.meta.dirname, "../../bin/nacelle");
const compileCache = join(import.meta.dirname, "../../build/compile-cache");

/** What a command said and how it ended. */
export interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs `nacelle` with the configuration of a server under test, and waits for its end. */
export async function nacelle(paths: ServerPaths, command: string, ...rest: readonly string[]): Promise<Outcome> {
  const settings = {
    listen: paths.socket,
    root: paths.root,
    runDir: paths.runDir,
    netnsDir: paths.netnsDir,
    "cni.confDir": paths.cni.confDir,
    "registries.configFile": join(paths.folder, "registries.conf"),
  };
  const sets = Object.entries(settings).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
  const env = { ...process.env, NODE_COMPILE_CACHE: compileCache };
  const child = spawn(executable, [command, ...sets, ...rest], { env, stdio: ["ignore", "pipe", "pipe"] });
  const ended = once(child, "exit");
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  await ended;
  return { code: child.exitCode, out, err };
}

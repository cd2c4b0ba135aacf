import { mkdir } from "node:fs/promises";
import { resolve } from "node:path";
import { adminSocket } from "../config/check.ts";
import type { Config } from "../config/schema.ts";
import { DomainError, messageOf } from "../lib/errors.ts";
import { Log } from "../lib/log.ts";
import { askAdmin } from "./admin-client.ts";
import { AdminServer } from "./admin-server.ts";
import type { Command, CommandIo } from "./command.ts";
import { readConfig } from "./command-config.ts";
import { exitCodeOf, exitCodes } from "./exit-codes.ts";
import { openImages } from "./images.ts";
import { LauncherEvents } from "./launcher-events.ts";
import { nativeBinary, requireRoot } from "./native-binary.ts";
import { notReady } from "./not-ready.ts";
import { openStore, startLauncher } from "./open-node.ts";
import { duration } from "./status-page.ts";

/** A server is silent while it unpacks. */
const IMPORT_MS = 30 * 60_000;

/** `nacelle image import PATH [NAME]`: by the server that runs, or alone when none does. Prints the ids of the images. */
export const imageCommand: Command = async (invocation, io) => {
  const [verb, directory = "", name] = invocation.operands;
  if (verb !== "import") {
    io.err(`nacelle image: there is only import, not ${JSON.stringify(verb)}\n`);
    return exitCodes.usage;
  }
  const config = readConfig(invocation, io);
  if (config === undefined) return exitCodes.badConfiguration;
  const path = resolve(directory);
  try {
    const start = performance.now();
    io.err(`importing ${path}\n`);
    const ids = (await importByServer(config, path, name)) ?? (await importAlone(config, path, name, io));
    io.err(`imported ${ids.length} in ${duration((performance.now() - start) / 1000)}\n`);
    io.out(invocation.json ? `${JSON.stringify({ ids })}\n` : ids.map((id) => `${id}\n`).join(""));
    return exitCodes.ok;
  } catch (error) {
    io.err(`nacelle image: ${messageOf(error)}\n`);
    return exitCodeOf(error);
  }
};

async function importByServer(
  config: Config,
  path: string,
  name: string | undefined,
): Promise<readonly string[] | undefined> {
  const body = { path, ...(name === undefined ? {} : { name }) };
  const socket = adminSocket(config);
  const answer = await askAdmin({ socket, method: "POST", path: "/images/import", body, timeoutMs: IMPORT_MS });
  if (answer === undefined) return undefined;
  const ids = typeof answer === "object" && answer !== null && "ids" in answer ? answer.ids : undefined;
  if (Array.isArray(ids)) return ids.map(String);
  throw new DomainError("internal", `${socket} is not served by nacelle`);
}

/** Pods that run are none of its business, and nothing that is not held is removed: the next server does that. */
async function importAlone(
  config: Config,
  path: string,
  name: string | undefined,
  io: CommandIo,
): Promise<readonly string[]> {
  requireRoot();
  const binary = await nativeBinary();
  await using owned = new AsyncDisposableStack();
  await mkdir(config.runDir, { recursive: true, mode: 0o711 });
  await mkdir(resolve(config.runDir, "u"), { recursive: true, mode: 0o700 });
  const log = Log.to({ level: "warn", format: "logfmt", output: (line) => io.err(`${line}\n`) });
  const store = owned.use(openStore(config, "nacelle image import"));
  owned.use(await AdminServer.listen(adminSocket(config), notReady(config, "importing")));
  const launcher = owned.use(await startLauncher({ config, log, binary, store }, new LauncherEvents()));
  const images = owned.use(
    await openImages({ config, store, launcher, log, written: () => ({ bytes: 0, inodes: 0 }) }),
  );
  const interrupted = new AbortController();
  process.once("SIGINT", () => interrupted.abort(new DomainError("unavailable", "interrupted")));
  return await images.service.importDirectory(path, name, interrupted.signal);
}

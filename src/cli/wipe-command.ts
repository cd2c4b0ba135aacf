import { mkdir, stat } from "node:fs/promises";
import { adminSocket } from "../config/check.ts";
import type { Config } from "../config/schema.ts";
import { messageOf } from "../lib/errors.ts";
import { Log } from "../lib/log.ts";
import { claimSocket } from "../server/socket.ts";
import { AdminServer } from "./admin-server.ts";
import type { Command, CommandIo } from "./command.ts";
import { readConfig } from "./command-config.ts";
import { exitCodeOf, exitCodes } from "./exit-codes.ts";
import { nativeBinary, requireRoot } from "./native-binary.ts";
import { notReady } from "./not-ready.ts";
import { openNode, openStore } from "./open-node.ts";
import { freeLeftovers } from "./wipe-leftovers.ts";
import { removePlaces } from "./wipe-places.ts";
import { freeRows } from "./wipe-rows.ts";
import { WipeTally } from "./wipe-tally.ts";

/**
 * `nacelle wipe`: every sandbox and container with all they hold, and what has no row any more; with --all images and
 * state too. What cannot be freed is named, the rest is freed all the same, and the code is 1.
 */
export const wipeCommand: Command = async (invocation, io) => {
  const config = readConfig(invocation, io);
  if (config === undefined) return exitCodes.badConfiguration;
  try {
    requireRoot();
    if (!(await exists(config.root)) && !(await exists(config.runDir))) {
      io.out("there is nothing to remove\n");
      return exitCodes.ok;
    }
    const tally = new WipeTally((problem) => io.err(`nacelle wipe: ${problem}\n`));
    await wipe(config, invocation.flags.has("all"), tally, io);
    io.out(tally.summary());
    return tally.isClean ? exitCodes.ok : exitCodes.failure;
  } catch (error) {
    io.err(`nacelle wipe: ${messageOf(error)}\n`);
    return exitCodeOf(error);
  }
};

async function wipe(config: Config, all: boolean, tally: WipeTally, io: CommandIo): Promise<void> {
  const isStateGone = await wipeNode(config, all, tally, io);
  // Only now, because launcher, store and the administrative socket are at home in these places.
  await removePlaces(config, isStateGone, tally);
}

/** Resolves with whether nothing needs the state any more. */
async function wipeNode(config: Config, all: boolean, tally: WipeTally, io: CommandIo): Promise<boolean> {
  const binary = await nativeBinary();
  await using owned = new AsyncDisposableStack();
  await mkdir(config.runDir, { recursive: true, mode: 0o711 });
  const store = owned.use(openStore(config, "nacelle wipe"));
  owned.use(await AdminServer.listen(adminSocket(config), notReady(config, "wiping")));
  await claimSocket(config.listen);
  // What it frees in the background is tried again until it is free; what is not in the end is told then.
  const log = Log.to({ level: "error", format: "logfmt", output: (line) => io.err(`${line}\n`) });
  const node = owned.use(await openNode({ config, log, binary, store }));
  await freeRows(node, all, tally);
  await freeLeftovers(node, tally);
  const images = node.images.service.list().length;
  if (all) tally.add("images", images);
  return tally.problems === 0 && (all || images === 0);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

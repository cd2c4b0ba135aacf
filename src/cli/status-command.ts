import { setTimeout as delay } from "node:timers/promises";
import { adminSocket } from "../config/check.ts";
import type { Config } from "../config/schema.ts";
import { DomainError, messageOf } from "../lib/errors.ts";
import { askAdmin } from "./admin-client.ts";
import type { Command, CommandIo } from "./command.ts";
import { readConfig } from "./command-config.ts";
import { exitCodes } from "./exit-codes.ts";
import { type ShownState, statusKey, statusPage } from "./status-page.ts";

const ANSWER_MS = 10_000;
const POLL_MS = 1_000;

/** `nacelle status`: what the running server is, does and waits for; with -w again whenever that changes. */
export const statusCommand: Command = async (invocation, io) => {
  const config = readConfig(invocation, io);
  if (config === undefined) return exitCodes.badConfiguration;
  const print = (state: ShownState) =>
    io.out(invocation.json ? `${JSON.stringify(state)}\n` : statusPage(state, Date.now()));
  try {
    if (invocation.watch) await watch(config, print, io);
    else print(await requireState(config));
    return exitCodes.ok;
  } catch (error) {
    io.err(`nacelle status: ${messageOf(error)}\n`);
    return exitCodes.failure;
  }
};

/** Until the process is interrupted. A server that goes away is waited for. */
async function watch(config: Config, print: (state: ShownState) => void, io: CommandIo): Promise<never> {
  let last = "";
  for (let first = true; ; first = false) {
    try {
      const state = await requireState(config);
      if (statusKey(state) !== last) {
        if (!first) io.out("\n");
        print(state);
      }
      last = statusKey(state);
    } catch (error) {
      if (messageOf(error) !== last) io.err(`nacelle status: ${messageOf(error)}\n`);
      last = messageOf(error);
    }
    await delay(POLL_MS);
  }
}

async function requireState(config: Config): Promise<ShownState> {
  const socket = adminSocket(config);
  const state = await askAdmin({ socket, method: "GET", path: "/state", timeoutMs: ANSWER_MS });
  if (isState(state)) return state;
  if (state !== undefined) throw new DomainError("internal", `${socket} is not served by nacelle`);
  throw new DomainError(
    "unavailable",
    `no server answers at ${socket}: start it with nacelle serve, or give its --config or --set runDir=…`,
  );
}

/** Of a server of this version or a near one: what is missing then is not shown. */
function isState(value: unknown): value is ShownState {
  return typeof value === "object" && value !== null && "version" in value && "phase" in value && "started" in value;
}

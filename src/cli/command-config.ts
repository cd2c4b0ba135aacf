import { checkConfig } from "../config/check.ts";
import { loadConfig } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { messageOf } from "../lib/errors.ts";
import type { Invocation } from "./argv.ts";
import type { CommandIo } from "./command.ts";

/** The configuration that a command line names; undefined after one line that says what is wrong with it. */
export function readConfig({ command, configFile, sets }: Invocation, io: CommandIo): Config | undefined {
  try {
    const config = loadConfig({ ...(configFile === undefined ? {} : { file: configFile }), sets });
    checkConfig(config);
    return config;
  } catch (error) {
    io.err(`nacelle ${command}: ${messageOf(error)}\n`);
    return undefined;
  }
}

import { checkConfig } from "../config/check.ts";
import { configDocument, defaultYaml, explain } from "../config/document.ts";
import { settingsInForce } from "../config/in-force.ts";
import { loadConfig } from "../config/load.ts";
import { DomainError } from "../lib/errors.ts";
import type { Invocation } from "./argv.ts";
import type { Command } from "./command.ts";
import { exitCodes } from "./exit-codes.ts";

/** `nacelle config`: what is in force, or the defaults, or what a key means, or whether a file is valid. */
export const configCommand: Command = (invocation, io) => {
  try {
    io.out(answer(invocation));
    return Promise.resolve(exitCodes.ok);
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    io.err(`nacelle config: ${error.message}\n`);
    return Promise.resolve(error.kind === "invalidArgument" ? exitCodes.badConfiguration : exitCodes.failure);
  }
};

function answer({ flags, values, configFile, sets, json }: Invocation): string {
  const key = values.get("explain");
  if (key !== undefined) return explain(key);
  if (flags.has("default")) return defaultYaml();
  if (flags.has("markdown")) return configDocument();
  const file = values.get("check") ?? configFile;
  const options = { ...(file === undefined ? {} : { file }), sets };
  const config = loadConfig(options);
  checkConfig(config);
  if (values.has("check")) return `${file}: valid\n`;
  if (json) return `${JSON.stringify(config, undefined, 2)}\n`;
  const lines = settingsInForce(options).map(({ key: name, value, source }) => `${name}: ${value}  # ${source}\n`);
  return lines.join("");
}

import packageJson from "../../package.json" with { type: "json" };
import type { Command } from "./command.ts";

/** The version of this program, as in package.json. */
export const nacelleVersion: string = packageJson.version;

/** `nacelle version`. */
export const versionCommand: Command = ({ json }, io) => {
  const versions = { nacelle: nacelleVersion, cri: "v1", node: process.version };
  io.out(
    json
      ? `${JSON.stringify(versions)}\n`
      : `nacelle ${versions.nacelle} (CRI ${versions.cri}, Node ${versions.node})\n`,
  );
  return Promise.resolve(0);
};

import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { hasCode, invalidArgument } from "../../lib/errors.ts";
import { type AuthFile, parseAuthFile } from "./auth-file.ts";
import { mergeRegistriesConf, parseRegistriesConf, type RegistriesConf } from "./registries-conf.ts";

const maxFileBytes = 1024 * 1024;

/** What operators have configured for registries, as read at one time. certs.d and hosts.toml will join here. */
export interface RegistryFiles {
  readonly conf: RegistriesConf;
  /** In order of precedence. */
  readonly auth: readonly AuthFile[];
}

export interface RegistryPaths {
  /** registries.conf; `<it>.d/*.conf` is read after it, in order of name. Absent files are empty. */
  readonly configFile: string;
  /** auth.json or docker config.json, in order of precedence. Absent files are empty. */
  readonly authFiles: readonly string[];
}

/** Reads them anew. Throws `invalidArgument` naming file and key. Small files of the host: read without the launcher. */
export async function readRegistryFiles({ configFile, authFiles }: RegistryPaths): Promise<RegistryFiles> {
  const dropIns = (await namesIn(`${configFile}.d`))
    .filter((name) => name.endsWith(".conf"))
    .sort((a, b) => (a < b ? -1 : 1));
  const files = [configFile, ...dropIns.map((name) => join(`${configFile}.d`, basename(name)))];
  const confs = await Promise.all(files.map(async (file) => parseRegistriesConf(await textOf(file), file)));
  const auth = await Promise.all(authFiles.map(async (file) => parseAuthFile(await textOf(file), file)));
  return { conf: mergeRegistriesConf(confs), auth };
}

async function textOf(file: string): Promise<string> {
  try {
    const text = await readFile(file, "utf8");
    if (text.length > maxFileBytes) throw invalidArgument(`${file} is larger than ${maxFileBytes} bytes`);
    return text;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return "";
    throw error;
  }
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (hasCode(error, "ENOENT") || hasCode(error, "ENOTDIR")) return [];
    throw error;
  }
}

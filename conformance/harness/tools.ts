import { join } from "node:path";

/** The folder with crictl, critest and ginkgo that `script/setup tools` built; undefined where there is no Go for that. */
export const toolsFolder: string | undefined = process.env.NACELLE_TOOLS;

/** What node:test takes as `skip`: a reason where the tools are missing. */
export const skipWithoutTools: string | false =
  toolsFolder === undefined ? "crictl and critest are not built: no Go >= 1.26 (script/setup tools)" : false;

/** The path of a tool. Throws where the tools are missing. */
export function tool(name: "crictl" | "critest" | "ginkgo"): string {
  if (toolsFolder === undefined) throw new Error("NACELLE_TOOLS is not set: see script/setup tools");
  return join(toolsFolder, name);
}

/** A runc with id-mapped mounts, which Debian 12's does not have; undefined where it is not built. */
const runcPath: string | undefined = process.env.NACELLE_RUNC;

/** As `skipWithoutTools`, for that runc. */
export const skipWithoutRunc: string | false =
  runcPath === undefined ? "runc 1.5 is not built: no Go >= 1.26 (script/setup tools runc)" : false;

/** Its path. Throws where it is missing. */
export function runcWithIdmap(): string {
  if (runcPath === undefined) throw new Error("NACELLE_RUNC is not set: see script/setup tools runc");
  return runcPath;
}

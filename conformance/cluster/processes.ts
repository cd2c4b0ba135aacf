import { readdir, readFile } from "node:fs/promises";
import { lookUntil } from "./look.ts";

/** Waits until no process has this in its command line. */
export async function untilNoProcess(words: string): Promise<void> {
  await lookUntil(`no process has "${words}" in its command line`, async () => {
    const commands = await Promise.all((await readdir("/proc")).map(commandLine));
    return commands.some((command) => command.includes(words)) ? undefined : true;
  });
}

async function commandLine(pid: string): Promise<string> {
  if (!/^\d+$/.test(pid)) return "";
  return await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => ""); // it ended while it was read
}

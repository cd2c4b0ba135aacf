import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type ExitRecord, parseExitRecord } from "../monitor/record.ts";
import type { Process } from "./monitors.ts";

/** What outlives a monitor and the daemon, in the sandbox's record directory. */
export class Records {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Which process the monitor is, so that a later daemon can end one that does not answer. */
  async rememberMonitor({ pid, startTime }: Process): Promise<void> {
    await writeFile(join(this.#directory, "monitor"), `${pid} ${startTime}`, { mode: 0o600 });
  }

  /** Undefined when it was never remembered, or the directory is gone. */
  async monitor(): Promise<Process | undefined> {
    const text = await readFile(join(this.#directory, "monitor"), "utf8").catch(() => "");
    const [, pid, startTime] = /^(\d+) (\d+)$/.exec(text) ?? [];
    return pid === undefined || startTime === undefined ? undefined : { pid: Number(pid), startTime };
  }

  /** What the monitor wrote about a container; undefined when nothing, or nothing whole. */
  async exit(id: string): Promise<ExitRecord | undefined> {
    return readFile(join(this.#directory, `${id}.exit`)).then(parseExitRecord, () => undefined);
  }
}

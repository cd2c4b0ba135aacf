import { open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { EXIT_RECORD_SIZE, type ExitRecord, parseExitRecord } from "../monitor/record.ts";

/** A process that is the same one for ever (within a boot). */
interface MonitorProcess {
  readonly pid: number;
  readonly startTime: string;
}

/** What outlives a monitor and the daemon, in the sandbox's record directory. */
export class Records {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Which process the monitor is, so that a later daemon can end one that does not answer. */
  async rememberMonitor({ pid, startTime }: MonitorProcess): Promise<void> {
    await writeFile(join(this.#directory, "monitor"), `${pid} ${startTime}`, { mode: 0o600 });
  }

  /** Undefined when it was never remembered, or the directory is gone. */
  async monitor(): Promise<MonitorProcess | undefined> {
    const text = await readFile(join(this.#directory, "monitor"), "utf8").catch(() => "");
    const [, pid, startTime] = /^(\d+) (\d+)$/.exec(text) ?? [];
    return pid === undefined || startTime === undefined ? undefined : { pid: Number(pid), startTime };
  }

  /** What the monitor wrote about a container; undefined when nothing, or nothing whole. */
  async exit(id: string): Promise<ExitRecord | undefined> {
    return readStart(join(this.#directory, `${id}.exit`)).then(parseExitRecord, () => undefined);
  }
}

/** A byte more than a record has, if there is one: then it is none. */
async function readStart(path: string): Promise<Buffer> {
  await using file = await open(path);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(EXIT_RECORD_SIZE + 1));
  return buffer.subarray(0, bytesRead);
}

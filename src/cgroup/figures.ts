/** Pressure stall information of one resource: how long tasks waited for it. */
export interface Pressure {
  readonly some: PressureLine;
  readonly full: PressureLine;
}

export interface PressureLine {
  /** Microseconds since the cgroup was made. */
  readonly total: number;
  /** Per cent of the last 10, 60 and 300 seconds. */
  readonly avg10: number;
  readonly avg60: number;
  readonly avg300: number;
}

/** What a block device did for a cgroup. */
export interface DeviceFigures {
  /** "major:minor". */
  readonly device: string;
  readonly readBytes: number;
  readonly writeBytes: number;
  readonly reads: number;
  readonly writes: number;
}

/**
 * What a cgroup has used and may use, whichever version it is of; descendants are counted. What its files do not tell
 * is undefined. A limit that is none is undefined, too. Numbers above 2^53 are rounded: 104 days of CPU time in nanoseconds.
 */
export interface CgroupFigures {
  cpuUsageNs?: number | undefined;
  cpuUserNs?: number | undefined;
  cpuSystemNs?: number | undefined;
  cpuPeriods?: number | undefined;
  cpuThrottledPeriods?: number | undefined;
  cpuThrottledNs?: number | undefined;
  cpuShares?: number | undefined;
  cpuQuotaUs?: number | undefined;
  cpuPeriodUs?: number | undefined;
  memoryUsage?: number | undefined;
  memoryLimit?: number | undefined;
  memoryReservation?: number | undefined;
  memoryPeak?: number | undefined;
  memoryFailures?: number | undefined;
  /** The part of the page cache that can be dropped at once. */
  inactiveFile?: number | undefined;
  anonymous?: number | undefined;
  cache?: number | undefined;
  mappedFile?: number | undefined;
  pageFaults?: number | undefined;
  majorPageFaults?: number | undefined;
  swapUsage?: number | undefined;
  swapLimit?: number | undefined;
  oomKills?: number | undefined;
  /** Threads, which is what the kernel limits; descendants included. */
  tasks?: number | undefined;
  tasksLimit?: number | undefined;
  /** In this cgroup itself. */
  processes?: number | undefined;
  cpuPressure?: Pressure | undefined;
  memoryPressure?: Pressure | undefined;
  ioPressure?: Pressure | undefined;
  devices?: readonly DeviceFigures[] | undefined;
}

/** A file of one number; undefined for anything else, "max" included. */
export function parseNumber(text: string): number | undefined {
  const trimmed = text.trimEnd();
  return /^[0-9]{1,20}$/.test(trimmed) ? Number(trimmed) : undefined;
}

/** What the kernel writes for "no limit" on v1 is the largest number of pages there is. */
const NO_LIMIT = 2 ** 62;

/** A limit: undefined when there is none. */
export function parseLimit(text: string): number | undefined {
  return limitOf(parseNumber(text));
}

export function limitOf(value: number | undefined): number | undefined {
  return value === undefined || value >= NO_LIMIT ? undefined : value;
}

/**
 * The value of a key in a file of lines "key value". It looks for the one line instead of taking all apart: these files
 * have forty lines of which a handful matters.
 */
export function fieldOf(text: string, key: string): number | undefined {
  for (let at = text.indexOf(key); at !== -1; at = text.indexOf(key, at + 1)) {
    const value = at + key.length + 1;
    if ((at === 0 || text[at - 1] === "\n") && text[value - 1] === " ")
      return digits(text, value, text.indexOf("\n", at));
  }
  return undefined;
}

/** The number between two places of a text, or from one to the end; undefined unless it is one. */
function digits(text: string, start: number, end: number): number | undefined {
  return parseNumber(end === -1 ? text.slice(start) : text.slice(start, end));
}

/** The text of a *.pressure file; undefined unless it has a line "some". */
export function parsePressure(text: string): Pressure | undefined {
  const some = parsePressureLine(text, "some ");
  return some === undefined ? undefined : { some, full: parsePressureLine(text, "\nfull ") ?? nothingWaited };
}

const nothingWaited: PressureLine = { total: 0, avg10: 0, avg60: 0, avg300: 0 };

/** "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" */
function parsePressureLine(text: string, name: string): PressureLine | undefined {
  const start = text.indexOf(name);
  if (start === -1) return undefined;
  const line = text.slice(start + name.length, lineEnd(text, start + name.length));
  const part = (key: string): number => {
    const at = line.indexOf(key);
    const blank = line.indexOf(" ", at);
    return at === -1 ? Number.NaN : Number(line.slice(at + key.length, blank === -1 ? undefined : blank));
  };
  const [total, avg10, avg60, avg300] = [part("total="), part("avg10="), part("avg60="), part("avg300=")];
  // Not so of what is no number, either.
  const isWhole = total >= 0 && avg10 >= 0 && avg60 >= 0 && avg300 >= 0;
  return isWhole && total + avg10 + avg60 + avg300 < 2 ** 65 ? { total, avg10, avg60, avg300 } : undefined;
}

function lineEnd(text: string, from: number): number {
  const end = text.indexOf("\n", from);
  return end === -1 ? text.length : end;
}

/** "8:0 rbytes=1 wbytes=2 rios=3 wios=4 …", a line per device, as io.stat of v2 has it. */
export function parseIoStat(text: string): readonly DeviceFigures[] {
  return text.split("\n").flatMap((line) => {
    const [device = "", ...pairs] = line.split(" ");
    if (!/^\d+:\d+$/.test(device)) return [];
    const values = new Map(pairs.map((pair) => pair.split("=", 2)).map(([key = "", value = ""]) => [key, value]));
    const figure = (key: string) => parseNumber(values.get(key) ?? "") ?? 0;
    return [
      {
        device,
        readBytes: figure("rbytes"),
        writeBytes: figure("wbytes"),
        reads: figure("rios"),
        writes: figure("wios"),
      },
    ];
  });
}

/** "8:0 Read 1", "8:0 Write 2", … of v1: a number per device and operation. */
export function parseBlkio(text: string): ReadonlyMap<string, { readonly read: number; readonly write: number }> {
  const devices = new Map<string, { read: number; write: number }>();
  for (const [, device = "", operation, value] of text.matchAll(/^(\d+:\d+) (Read|Write) (\d{1,20})$/gm)) {
    const figures = devices.getOrInsertComputed(device, () => ({ read: 0, write: 0 }));
    if (operation === "Read") figures.read = Number(value);
    else figures.write = Number(value);
  }
  return devices;
}

/** Processes of the machine as tests look at them: nothing tells of those that are not one's own. */
import { readdirSync, readFileSync } from "node:fs";
import { until } from "../../conformance/harness/until.ts";

/** What /proc/PID/stat says. */
export interface ProcessState {
  /** One letter: R, S, D, Z… */
  readonly state: string;
  readonly parent: number;
  /** In ticks since the machine's start. */
  readonly startTime: bigint;
  /** What its parent is told when it waits for it; 0 while it lives. */
  readonly waitStatus: number;
}

/** Undefined when there is no such process. */
export function processState(pid: number): ProcessState | undefined {
  const text = read(`/proc/${pid}/stat`);
  if (text === "") return undefined;
  // From the third field on: the second, the name, may hold anything.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const number = (field: number) => Number(fields[field - 3]);
  return {
    state: fields[0] ?? "",
    parent: number(4),
    startTime: BigInt(fields[22 - 3] ?? 0),
    waitStatus: number(52),
  };
}

/** There, and not a zombie that its parent has not looked at yet. */
export function isAlive(pid: number): boolean {
  const found = processState(pid);
  return found !== undefined && found.state !== "Z" && found.state !== "X";
}

/** Of a process that is there. */
export function startTime(pid: number): bigint {
  const found = processState(pid);
  if (found === undefined) throw new Error(`there is no process ${pid}`);
  return found.startTime;
}

/** Waits until the process is in this state. */
export async function inState(pid: number, state: string): Promise<void> {
  await until(`process ${pid} is in state ${state}`, () => processState(pid)?.state === state);
}

/** Waits until the process has ended and its parent knows. */
export async function reaped(pid: number): Promise<void> {
  await until(`process ${pid} is reaped`, () => processState(pid) === undefined);
}

/** Those that live and have this text in their command line, in which a NUL ends each argument. */
export function processesWith(text: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && read(`/proc/${name}/cmdline`).includes(text))
    .map(Number);
}

/** Waits until no process of the machine has this text in its command line. */
export async function gone(text: string): Promise<void> {
  await until(`no process says ${text}`, () => processesWith(text).length === 0);
}

/** Empty when there is no such process, any more too. */
function read(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}

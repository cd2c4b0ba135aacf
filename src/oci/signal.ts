import { invalidArgument } from "../lib/errors.ts";

/** Numbers of the signals that have names of their own, as Linux numbers them on x86-64 and arm64. */
const NUMBERS: Readonly<Record<string, number>> = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  ILL: 4,
  TRAP: 5,
  ABRT: 6,
  BUS: 7,
  FPE: 8,
  KILL: 9,
  USR1: 10,
  SEGV: 11,
  USR2: 12,
  PIPE: 13,
  ALRM: 14,
  TERM: 15,
  STKFLT: 16,
  CHLD: 17,
  CONT: 18,
  STOP: 19,
  TSTP: 20,
  TTIN: 21,
  TTOU: 22,
  URG: 23,
  XCPU: 24,
  XFSZ: 25,
  VTALRM: 26,
  PROF: 27,
  WINCH: 28,
  IO: 29,
  PWR: 30,
  SYS: 31,
};

/** Second names that images and the CRI use for some of the above. */
const ALIASES: Readonly<Record<string, string>> = { IOT: "ABRT", CLD: "CHLD", POLL: "IO", UNUSED: "SYS" };

/** As a C library gives them to programs; the kernel's own first one is 32. */
const REALTIME_MIN = 34;
const REALTIME_MAX = 64;

const NAMES: ReadonlyMap<number, string> = new Map(Object.entries(NUMBERS).map(([name, number]) => [number, name]));

/**
 * The number of a signal written as "SIGTERM", "TERM", "15", "SIGRTMIN+3" or "RTMAX-2", in any case.
 * Throws `invalidArgument` for anything else.
 */
export function parseSignal(text: string): number {
  const number = signalNumber(text.trim().toUpperCase());
  if (number !== undefined) return number;
  const shown = JSON.stringify(text.slice(0, 40));
  throw invalidArgument(`signal ${shown} is unknown: use a name like SIGTERM or SIGRTMIN+3, or a number from 1 to 64`);
}

function signalNumber(text: string): number | undefined {
  if (/^\d{1,3}$/.test(text)) return inRange(Number(text), 1, REALTIME_MAX);
  const name = text.startsWith("SIG") ? text.slice(3) : text;
  const realtime = /^(RTMIN|RTMAX)(?:([+-])(\d{1,2}))?$/.exec(name);
  if (realtime !== null) {
    const [, base, sign, offset = "0"] = realtime;
    const start = base === "RTMIN" ? REALTIME_MIN : REALTIME_MAX;
    return inRange(sign === "-" ? start - Number(offset) : start + Number(offset), REALTIME_MIN, REALTIME_MAX);
  }
  const known = ALIASES[name] ?? name;
  return Object.hasOwn(NUMBERS, known) ? NUMBERS[known] : undefined;
}

function inRange(value: number, min: number, max: number): number | undefined {
  return value >= min && value <= max ? value : undefined;
}

/** The canonical name: "SIGTERM", "SIGRTMIN+3"; real-time signals of the upper half count down from SIGRTMAX. */
export function signalName(number: number): string {
  const name = NAMES.get(number);
  if (name !== undefined) return `SIG${name}`;
  if (inRange(number, REALTIME_MIN, REALTIME_MAX) === undefined) {
    throw invalidArgument(
      `signal number ${number} has no name: it must be 1 to 31 or ${REALTIME_MIN} to ${REALTIME_MAX}`,
    );
  }
  // SIGRTMIN+15 and SIGRTMAX-14 are neighbours: that is where C libraries and the CRI change over.
  if (number <= REALTIME_MIN + 15) return number === REALTIME_MIN ? "SIGRTMIN" : `SIGRTMIN+${number - REALTIME_MIN}`;
  return number === REALTIME_MAX ? "SIGRTMAX" : `SIGRTMAX-${REALTIME_MAX - number}`;
}

/** The same text in its canonical form: "15" and "term" are "SIGTERM". */
export function canonicalSignal(text: string): string {
  return signalName(parseSignal(text));
}

/**
 * The signal that a value of the CRI's `Signal` enum names, with or without the prefix that newer
 * versions give it ("SIGNAL_SIGTERM", "SIGRTMINPLUS3"); empty for the default value ("RUNTIME_DEFAULT").
 * Throws `invalidArgument` for a name that it does not know.
 */
export function signalFromCri(name: string): string {
  const bare = name.replace(/^SIGNAL_/, "");
  if (bare === "" || bare === "RUNTIME_DEFAULT") return "";
  return canonicalSignal(bare.replace(/^(SIGRTMIN|SIGRTMAX)(PLUS|MINUS)/, (_, base, sign) => base + SIGNS[sign]));
}

const SIGNS: Readonly<Record<string, string>> = { PLUS: "+", MINUS: "-" };

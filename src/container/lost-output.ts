import type { SeenExit } from "../monitor/monitored-container.ts";

type Log = (message: string, fields: Readonly<Record<string, string>>) => void;

/** One line about what a container has printed and is not in its log: what the disk refused, and what was above its limits. */
export function tellLoss({ id, logLostBytes, logLostLines }: SeenExit, log: Log): void {
  if (logLostBytes === 0n) return;
  const lines = logLostLines === undefined ? {} : { lostLines: String(logLostLines) };
  log("a container has ended whose log is not complete", { container: id, lostBytes: String(logLostBytes), ...lines });
}

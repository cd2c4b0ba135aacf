import { getSystemErrorMessage } from "node:util";
import { measured } from "../lib/measures.ts";
import type { MonitorOptions } from "../monitor/monitor.ts";

type Log = (message: string, fields: Readonly<Record<string, string>>) => void;

/** Says when a container's log cannot be written, and what was lost when it can again. */
export function logLoss(sandbox: string, log: Log): Required<Pick<MonitorOptions, "onLogError" | "onLogRecovered">> {
  return {
    onLogError: ({ id, errno }) => {
      measured({ kind: "logError" });
      const fields = { sandbox, container: id, error: getSystemErrorMessage(-errno) };
      log("a container's log cannot be written: what it prints is lost", fields);
    },
    onLogRecovered: ({ id, lostBytes }) => {
      measured({ kind: "logRecovered", lostBytes: Number(lostBytes) });
      log("a container's log is written again", { sandbox, container: id, lostBytes: String(lostBytes) });
    },
  };
}

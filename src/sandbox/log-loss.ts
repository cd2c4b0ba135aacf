import { getSystemErrorMessage, getSystemErrorName } from "node:util";
import { measured } from "../lib/measures.ts";
import type { MonitorOptions } from "../monitor/monitor.ts";

type Log = (message: string, fields: Readonly<Record<string, string>>) => void;
type Listeners = Required<Pick<MonitorOptions, "onLogError" | "onLogRecovered" | "onLogLimit">>;

const MESSAGES = {
  soft: "a container's log has reached its soft limit",
  hard: "a container's log has reached its hard limit: what it prints is dropped or waits, as the policy says",
} as const;

const REMEDIES: Readonly<Record<string, string>> = {
  ENOSPC: "make room on the file system of the pod's logs",
  EDQUOT: "make room in the quota of the pod's logs, or raise it",
  EROFS: "mount the file system of the pod's logs read-write again",
  EIO: "look at the disk of the pod's logs: the kernel's log says more",
};

/** Says when a container's log cannot be written, what was lost when it can again, and when it has grown to a limit. */
export function logLoss(sandbox: string, log: Log): Listeners {
  return {
    onLogError: ({ id, errno }) => {
      measured({ kind: "logError" });
      const remedy = REMEDIES[getSystemErrorName(-errno)] ?? "look at the folder of the pod's logs";
      const fields = { sandbox, container: id, error: getSystemErrorMessage(-errno), remedy };
      log("a container's log cannot be written: what it prints is lost", fields);
    },
    onLogRecovered: ({ id, lostBytes, lostLines }) => {
      measured({ kind: "logRecovered", lostBytes: Number(lostBytes), lostLines: Number(lostLines ?? 0n) });
      const lines = lostLines === undefined ? {} : { lostLines: String(lostLines) };
      log("a container's log is written again", { sandbox, container: id, lostBytes: String(lostBytes), ...lines });
    },
    onLogLimit: ({ id, limit, size }) => {
      measured({ kind: "logLimit", limit });
      const remedy =
        "rotate logs at a smaller size (the kubelet's containerLogMaxSize) or raise logs.softLimit, logs.hardLimit";
      log(MESSAGES[limit], { sandbox, container: id, size: String(size), remedy });
    },
  };
}

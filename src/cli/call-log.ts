import { messageOf } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { CallObserver } from "../server/handler.ts";
import type { Metrics } from "./metrics.ts";

const QUIET = /^(?:List|Stream|Version|Status|.*Status$|.*Stats$|ImageFsInfo|RuntimeConfig)/;

/**
 * What changes something is logged as it is; what a kubelet asks every second only when it fails, or to who debugs. The text
 * of a failed ExecSync is not logged: a runtime quotes in it what it could not execute, and commands may hold secrets.
 */
export function callLog(log: Pick<Log, "debug" | "info" | "warn">, metrics: Pick<Metrics, "call">): CallObserver {
  return (call) => {
    metrics.call(call);
    const { method, ms, code, error } = call;
    const fields = { method, ms: Math.round(ms) };
    // Who listens to events does so until it leaves.
    const isExpected = error === undefined || (method === "GetContainerEvents" && code === "CANCELLED");
    if (!isExpected) log.warn("call failed", { ...fields, error: method === "ExecSync" ? code : messageOf(error) });
    else if (QUIET.test(method)) log.debug("call", fields);
    else log.info("call", fields);
  };
}

import { Signal, type Signal__Output } from "../generated/runtime/v1/Signal.ts";
import { refuse } from "./field.ts";

const PREFIX = "SIGNAL_";

/** "SIGNAL_SIGRTMINPLUS3" as "SIGRTMIN+3"; the default, which is no signal, as "". */
export function toSignalName(field: string, value: Signal__Output | number): string {
  if (value === "SIGNAL_RUNTIME_DEFAULT") return "";
  if (typeof value !== "string" || !Object.hasOwn(Signal, value)) throw refuse(field, `has the unknown value ${value}`);
  return value.slice(PREFIX.length).replace("PLUS", "+").replace("MINUS", "-");
}

/** The way back; a signal that the API has no name for is shown as the default. */
export function fromSignalName(name: string): Signal__Output {
  const value = PREFIX + name.replace("+", "PLUS").replace("-", "MINUS");
  return isSignal(value) ? value : "SIGNAL_RUNTIME_DEFAULT";
}

function isSignal(value: string): value is Signal__Output {
  return Object.hasOwn(Signal, value);
}

import { DomainError } from "../lib/errors.ts";

/** What the process says to its caller when it ends. Part of the interface: documented in docs/OPERATIONS.md. */
export const exitCodes = {
  ok: 0,
  /** It was tried and failed; the message says why. */
  failure: 1,
  /** The command line was not understood. */
  usage: 2,
  /** The configuration is wrong: file, line and key are named. */
  badConfiguration: 3,
  /** Another process uses the state root. */
  stateRootInUse: 4,
  /** Another process answers on the socket. */
  socketBusy: 5,
  /** Something that nacelle cannot do without is missing: its native binary, a kernel feature, a right. */
  missingRequirement: 6,
  /** `nacelle check` found the node unfit. */
  nodeUnfit: 7,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** What `DomainError.fields.reason` may say for a code of its own. */
const reasons: Readonly<Record<string, ExitCode>> = {
  rootInUse: exitCodes.stateRootInUse,
  socketBusy: exitCodes.socketBusy,
  missingRequirement: exitCodes.missingRequirement,
};

/** The code for an error that ended a command after its configuration was read. */
export function exitCodeOf(error: unknown): ExitCode {
  const reason = error instanceof DomainError ? error.fields.reason : undefined;
  return (typeof reason === "string" ? reasons[reason] : undefined) ?? exitCodes.failure;
}

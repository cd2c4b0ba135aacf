import { delimiter } from "node:path";
import type { Operations, RunResult } from "../launcher/operations.ts";
import { DomainError, messageOf } from "../lib/errors.ts";
import { isJsonObject, type JsonObject } from "./json-object.ts";
import type { PluginConfig } from "./network-config.ts";

/** CNI_COMMAND. */
export type PluginCommand = "ADD" | "CHECK" | "DEL" | "STATUS" | "GC" | "VERSION";

/** One execution of one plugin. */
export interface PluginCall {
  readonly command: PluginCommand;
  readonly type: string;
  /** Absolute path of the executable. */
  readonly path: string;
  readonly binDirs: readonly string[];
  /** Whom it is for; empty for commands that are about the network as a whole. */
  readonly containerId: string;
  readonly netnsPath: string;
  readonly ifName: string;
  readonly args: string;
  readonly stdin: JsonObject;
}

/** What goes to a plugin's standard input beside its own configuration. */
export interface StdinRequest {
  readonly networkName: string;
  readonly cniVersion: string;
  readonly capabilityArgs: JsonObject;
  readonly prevResult?: JsonObject | undefined;
  /** Keys that only one command has. */
  readonly extra?: JsonObject;
}

/** For whom a plugin runs, and how long it may. */
export interface CallLimits {
  /** For the launcher's record: a sandbox's id, or what else the call is for. */
  readonly owner: string;
  readonly deadlineMs: number;
}

/** Plugins execute iptables, ip and their like, and see no other variable of the daemon's. */
const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const MAX_QUOTE = 300;
const MAX_MESSAGE = 16_384;

/** What a plugin reads: its own part of the configuration and what the runtime adds to it. */
export function pluginStdin(plugin: PluginConfig, request: StdinRequest): JsonObject {
  const { networkName, cniVersion, capabilityArgs, prevResult, extra = {} } = request;
  const told = Object.entries(capabilityArgs).filter(([name]) => plugin.capabilities.includes(name));
  return {
    ...plugin.config,
    ...extra,
    name: networkName,
    cniVersion,
    ...(told.length === 0 ? {} : { runtimeConfig: Object.fromEntries(told) }),
    ...(prevResult === undefined ? {} : { prevResult }),
  };
}

/**
 * Runs a plugin and resolves with what it printed. Rejects with `unavailable` holding all that the plugin
 * said of its failure, with `deadlineExceeded` naming the limit, and in both cases the plugin is dead.
 */
export async function runPlugin(
  operations: Operations,
  call: PluginCall,
  limits: CallLimits,
  signal?: AbortSignal,
): Promise<string> {
  const what = `CNI plugin ${call.type} ${call.command}`;
  using patient = withGrace(signal, ABORT_GRACE_MS);
  const result = await start(operations, call, { ...limits, what }, patient.signal);
  if (result.outcome === "timedOut") {
    const limit = formatLimit(limits.deadlineMs);
    throw failure("deadlineExceeded", `${what} did not answer within ${limit}${quoteStderr(result)}`, call);
  }
  if (signal?.aborted) throw aborted(what, call, signal);
  if (result.outcome === "signaled") {
    throw failure("unavailable", `${what} was killed by signal ${result.status}${quoteStderr(result)}`, call);
  }
  const output = result.stdout.toString();
  const complaint = complaintOf(output, result);
  if (complaint !== undefined) throw failure("unavailable", `${what} failed: ${complaint}`, call);
  if (result.truncated && call.command === "ADD") {
    throw failure("unavailable", `${what} printed more than is accepted: ${quote(output)}`, call);
  }
  return output;
}

/**
 * A plugin that is to end gets a moment to end by itself: one that is killed in the middle leaves what its DEL does not
 * remove (host-local makes the file of a lease before it writes into it whose lease it is).
 */
const ABORT_GRACE_MS = 2_000;

function withGrace(signal: AbortSignal | undefined, graceMs: number): Disposable & { readonly signal: AbortSignal } {
  const late = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const abort = () => {
    timer = setTimeout(() => late.abort(signal?.reason), graceMs);
  };
  if (signal?.aborted) late.abort(signal.reason);
  else signal?.addEventListener("abort", abort, { once: true });
  return {
    signal: late.signal,
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    },
  };
}

/** "3m", "1m30s", "0.5s". */
export function formatLimit(ms: number): string {
  if (ms < 60_000) return `${Math.round(ms / 100) / 10}s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)}m${seconds % 60 === 0 ? "" : `${seconds % 60}s`}`;
}

/** Foreign text for a message: bounded, on one line. */
export function quote(text: string): string {
  const cut = text.length > MAX_QUOTE ? `${text.slice(0, MAX_QUOTE)}…` : text;
  return JSON.stringify(cut.trim());
}

async function start(
  operations: Operations,
  call: PluginCall,
  options: CallLimits & { readonly what: string },
  signal: AbortSignal | undefined,
): Promise<RunResult> {
  const env = {
    CNI_COMMAND: call.command,
    CNI_CONTAINERID: call.containerId,
    CNI_NETNS: call.netnsPath,
    CNI_IFNAME: call.ifName,
    CNI_ARGS: call.args,
    CNI_PATH: call.binDirs.join(delimiter),
    PATH,
  };
  const stdin = Buffer.from(JSON.stringify(call.stdin));
  try {
    return await operations.run({ argv: [call.path], env, stdin, ...options }, signal);
  } catch (error) {
    if (signal?.aborted) throw aborted(options.what, call, signal);
    const message = `${options.what} could not be started from ${call.path}: ${messageOf(error)}`;
    throw new DomainError("unavailable", message, { cause: error, fields: { plugin: call.type, started: false } });
  }
}

/** What a plugin says of its failure; a success says nothing. Some report an error and yet exit with 0. */
function complaintOf(output: string, result: RunResult): string | undefined {
  const answer = parseAnswer(output);
  const { code, msg, details } = answer ?? {};
  const isError = typeof code === "number" && code !== 0 && typeof msg === "string";
  if (isError) {
    const more = typeof details === "string" && details !== "" ? `: ${details}` : "";
    const said = msg === "" && more === "" ? `no message${quoteStderr(result)}` : `${msg}${more}`;
    return `${said.slice(0, MAX_MESSAGE)} (code ${code})`;
  }
  if (result.status === 0) return undefined;
  const printed = output.trim() === "" ? "" : `, it printed ${quote(output)}`;
  return `exit code ${result.status}${printed}${quoteStderr(result)}`;
}

function parseAnswer(output: string): JsonObject | undefined {
  try {
    const answer: unknown = JSON.parse(output);
    return isJsonObject(answer) ? answer : undefined;
  } catch {
    return undefined; // the caller decides what text that is no JSON means
  }
}

function quoteStderr({ stderr }: RunResult): string {
  return stderr.length === 0 ? "" : `, stderr: ${quote(stderr.toString("utf8", 0, MAX_QUOTE * 4))}`;
}

function aborted(what: string, call: PluginCall, signal: AbortSignal): DomainError {
  const fields = { plugin: call.type, command: call.command };
  return new DomainError("unavailable", `${what} was given up`, { cause: signal.reason, fields });
}

function failure(kind: "unavailable" | "deadlineExceeded", message: string, call: PluginCall): DomainError {
  return new DomainError(kind, message, { fields: { plugin: call.type, command: call.command } });
}

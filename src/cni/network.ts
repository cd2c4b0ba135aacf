import type { Operations } from "../launcher/operations.ts";
import { DomainError, messageOf } from "../lib/errors.ts";
import { type Attachment, knownResult } from "./attachment.ts";
import type { JsonObject } from "./json-object.ts";
import { isAtLeast, type NetworkList, type PluginConfig, parseNetworkList } from "./network-config.ts";
import { type CallLimits, type PluginCommand, pluginStdin, quote, runPlugin } from "./plugin.ts";
import { findPlugin } from "./plugin-path.ts";
import { type NetworkResult, parseResult, parseResultText } from "./result.ts";

/** How an ADD is limited and observed. */
export interface AddOptions {
  /** For the whole chain. */
  readonly timeoutMs: number;
  /** For undoing a failed chain; not cut short by `signal`. */
  readonly undoTimeoutMs: number;
  readonly preferred: "ipv4" | "ipv6";
  /**
   * Called with the result of each plugin but the last, before the next one runs. Written to the ledger
   * (it need not be durable: what it helps to remove does not survive the machine either), it lets the DEL
   * that follows a crash remove what only a `prevResult` names, such as firewall rules.
   */
  readonly onProgress?: (partial: JsonObject) => void;
}

/**
 * Runs ADD of every plugin in order, each with the result of the one before it. A failure runs DEL for the
 * whole chain and rejects with both errors; then `isUndone(error)` says whether nothing is left behind.
 */
export async function addNetwork(
  operations: Operations,
  attachment: Attachment,
  options: AddOptions,
  signal?: AbortSignal,
): Promise<NetworkResult> {
  const chain = new Chain(operations, attachment, options.timeoutMs);
  let result: JsonObject | undefined;
  try {
    for (const index of chain.list.plugins.keys()) {
      if (result !== undefined) options.onProgress?.(result);
      const output = await chain.run("ADD", index, result, signal);
      result = readResult(output, chain.list, index);
    }
    return requireAddress(parseResult(result ?? {}, attachment.ifName, options.preferred), chain.list.name);
  } catch (error) {
    const undo = await undoAdd(operations, attachment, result, options.undoTimeoutMs);
    throw failedAdd(error, undo);
  }
}

/** Whether a failed `addNetwork` has left nothing behind, so that its ledger row may go. */
export function isUndone(error: unknown): boolean {
  return error instanceof DomainError && error.fields.undone === true;
}

/**
 * Runs DEL of every plugin, last first, with the stored configuration, arguments and result. The chain goes on
 * past a failing plugin, so that one which is missing or broken keeps neither address nor interface of the others;
 * then rejects with all errors in one. DEL of what is gone already succeeds.
 */
export async function deleteNetwork(
  operations: Operations,
  attachment: Attachment,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<void> {
  const chain = new Chain(operations, attachment, timeoutMs);
  const prevResult = isAtLeast(chain.list.cniVersion, "0.4.0") ? knownResult(attachment) : undefined;
  const errors: unknown[] = [];
  for (const index of [...chain.list.plugins.keys()].toReversed()) {
    try {
      await chain.run("DEL", index, prevResult, signal, index + 1);
    } catch (error) {
      errors.push(error);
      if (signal?.aborted) break;
    }
  }
  throwAll(errors);
}

/** Runs CHECK of every plugin in order; nothing to do where the configuration or its version has no CHECK. */
export async function checkNetwork(
  operations: Operations,
  attachment: Attachment,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<void> {
  const chain = new Chain(operations, attachment, timeoutMs);
  if (chain.list.disableCheck || !isAtLeast(chain.list.cniVersion, "0.4.0")) return;
  for (const index of chain.list.plugins.keys()) {
    await chain.run("CHECK", index, knownResult(attachment), signal);
  }
}

/** Runs the plugins of one attachment under one deadline. */
class Chain {
  readonly list: NetworkList;
  readonly #operations: Operations;
  readonly #attachment: Attachment;
  readonly #endMs: number;

  constructor(operations: Operations, attachment: Attachment, timeoutMs: number) {
    this.list = { ...parseNetworkList(attachment.config), cniVersion: attachment.cniVersion };
    this.#operations = operations;
    this.#attachment = attachment;
    this.#endMs = performance.now() + timeoutMs;
  }

  /** Gives the plugin one of `shares` parts of the time that is left, so that one which hangs leaves time for others. */
  async run(
    command: PluginCommand,
    index: number,
    prevResult: JsonObject | undefined,
    signal: AbortSignal | undefined,
    shares = 1,
  ): Promise<string> {
    const plugin = this.list.plugins[index];
    if (plugin === undefined) throw new RangeError(`no plugin ${index} in CNI network ${this.list.name}`);
    // A chain that is late still tries each DEL for a moment: most take milliseconds.
    const deadlineMs = Math.max(Math.ceil((this.#endMs - performance.now()) / shares), 1_000);
    const limits = { owner: this.#attachment.sandboxId, deadlineMs };
    return runPlugin(
      this.#operations,
      await this.#call(command, plugin, index, prevResult),
      limits satisfies CallLimits,
      signal,
    );
  }

  async #call(command: PluginCommand, plugin: PluginConfig, index: number, prevResult: JsonObject | undefined) {
    const { sandboxId, netnsPath, ifName, args, binDirs, capabilityArgs, pluginPaths } = this.#attachment;
    const { name, cniVersion } = this.list;
    return {
      command,
      type: plugin.type,
      // A package upgrade may have moved it since ADD; a path that is gone fails with its name.
      path: (await findPlugin(plugin.type, binDirs)) ?? pluginPaths[index] ?? `${binDirs[0] ?? ""}/${plugin.type}`,
      binDirs,
      containerId: sandboxId,
      netnsPath,
      ifName,
      args,
      stdin: pluginStdin(plugin, { networkName: name, cniVersion, capabilityArgs, prevResult }),
    };
  }
}

/** Undoes with the best result there is: without one the firewall plugin would leave its rules. */
async function undoAdd(
  operations: Operations,
  attachment: Attachment,
  partial: JsonObject | undefined,
  timeoutMs: number,
): Promise<unknown> {
  const state = { phase: "intent", ...(partial === undefined ? {} : { partial }) } as const;
  try {
    await deleteNetwork(operations, { ...attachment, state }, timeoutMs);
    return undefined;
  } catch (error) {
    return error;
  }
}

function failedAdd(error: unknown, undo: unknown): DomainError {
  const kind = error instanceof DomainError ? error.kind : "unavailable";
  const fields = error instanceof DomainError ? error.fields : {};
  const message = undo === undefined ? messageOf(error) : `${messageOf(error)}; undoing it failed: ${messageOf(undo)}`;
  return new DomainError(kind, message, { cause: error, fields: { ...fields, undone: undo === undefined } });
}

function readResult(output: string, list: NetworkList, index: number): JsonObject {
  try {
    return parseResultText(output, list.cniVersion);
  } catch (error) {
    const type = list.plugins[index]?.type ?? "";
    const message = `CNI plugin ${type} ADD answered what is no result: ${messageOf(error)}: ${quote(output)}`;
    throw new DomainError("unavailable", message, { cause: error, fields: { plugin: type, command: "ADD" } });
  }
}

function requireAddress(result: NetworkResult, network: string): NetworkResult {
  if (result.ips.length > 0) return result;
  throw new DomainError("unavailable", `CNI network ${JSON.stringify(network)} gave the sandbox no address`);
}

function throwAll(errors: readonly unknown[]): void {
  if (errors.length === 0) return;
  const [first] = errors;
  if (errors.length === 1) throw first;
  const kind = first instanceof DomainError ? first.kind : "unavailable";
  throw new DomainError(kind, errors.map(messageOf).join("; "), { cause: new AggregateError(errors) });
}

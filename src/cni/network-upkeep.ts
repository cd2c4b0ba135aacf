import type { Operations } from "../launcher/operations.ts";
import { DomainError, failedPrecondition, messageOf } from "../lib/errors.ts";
import type { JsonObject } from "./json-object.ts";
import { type CniVersion, isAtLeast, isCniVersion, type NetworkConfig } from "./network-config.ts";
import { type PluginCommand, pluginStdin, runPlugin } from "./plugin.ts";

/** An attachment that garbage collection must leave alone. */
export interface ValidAttachment {
  readonly sandboxId: string;
  readonly ifName: string;
}

/** Runs STATUS of every plugin (from version 1.1.0 on): rejects when the network cannot take sandboxes now. */
export async function statusNetwork(
  operations: Operations,
  network: NetworkConfig,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<void> {
  if (!isAtLeast(network.list.cniVersion, "1.1.0")) return;
  for (const index of network.list.plugins.keys()) {
    await runForNetwork(operations, network, { command: "STATUS", index, timeoutMs }, signal);
  }
}

/**
 * Runs GC of every plugin (from version 1.1.0 on, unless the configuration disables it): what belongs to none
 * of `valid` is released. Goes on past a failing plugin; rejects with all errors in one.
 */
export async function gcNetwork(
  operations: Operations,
  network: NetworkConfig,
  valid: readonly ValidAttachment[],
  timeoutMs: number,
): Promise<void> {
  if (!isAtLeast(network.list.cniVersion, "1.1.0") || network.list.disableGC) return;
  const attachments = valid.map(({ sandboxId, ifName }) => ({ containerID: sandboxId, ifname: ifName }));
  const extra = { "cni.dev/valid-attachments": attachments };
  const errors: unknown[] = [];
  for (const index of network.list.plugins.keys()) {
    try {
      await runForNetwork(operations, network, { command: "GC", index, timeoutMs, extra });
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) {
    throw new DomainError("unavailable", errors.map(messageOf).join("; "), { cause: new AggregateError(errors) });
  }
}

/**
 * The same network in the newest version that its configuration allows and all of its plugins speak.
 * Plugins are asked only where the configuration leaves a choice. Throws `failedPrecondition` when there is none.
 */
export async function negotiateVersion(
  operations: Operations,
  network: NetworkConfig,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<NetworkConfig> {
  const { list } = network;
  if (list.allowedVersions.length === 1) return network;
  let allowed: readonly CniVersion[] = list.allowedVersions;
  for (const [index, { type }] of list.plugins.entries()) {
    const output = await runForNetwork(operations, network, { command: "VERSION", index, timeoutMs }, signal);
    const spoken = supportedVersions(output);
    allowed = allowed.filter((version) => spoken.includes(version));
    if (allowed.length > 0) continue;
    const said = spoken.length === 0 ? "none that is known" : spoken.join(", ");
    throw failedPrecondition(
      `CNI network ${JSON.stringify(list.name)} allows ${list.allowedVersions.join(", ")}, but plugin ${type} speaks ${said}: upgrade it or add a version to cniVersions`,
    );
  }
  const [cniVersion = list.cniVersion] = allowed;
  return { ...network, list: { ...list, cniVersion } };
}

/** For `ConfigWatch`: the network in a version that all plugins speak, once every plugin says that it is ready. */
export async function admitNetwork(
  operations: Operations,
  network: NetworkConfig,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<NetworkConfig> {
  const negotiated = await negotiateVersion(operations, network, timeoutMs, signal);
  await statusNetwork(operations, negotiated, timeoutMs, signal);
  return negotiated;
}

/** What VERSION answered; versions that nacelle does not know are left out. */
function supportedVersions(output: string): readonly CniVersion[] {
  let answer: unknown;
  try {
    answer = JSON.parse(output);
  } catch {
    return [];
  }
  const listed: unknown =
    typeof answer === "object" && answer !== null && "supportedVersions" in answer ? answer.supportedVersions : [];
  return Array.isArray(listed) ? listed.filter(isCniVersion) : [];
}

interface NetworkCall {
  readonly command: PluginCommand;
  readonly index: number;
  readonly timeoutMs: number;
  readonly extra?: JsonObject;
}

async function runForNetwork(
  operations: Operations,
  { list, pluginPaths, binDirs }: NetworkConfig,
  { command, index, timeoutMs, extra = {} }: NetworkCall,
  signal?: AbortSignal,
): Promise<string> {
  const plugin = list.plugins[index];
  const path = pluginPaths[index];
  if (plugin === undefined || path === undefined)
    throw new RangeError(`no plugin ${index} in CNI network ${list.name}`);
  const { name: networkName, cniVersion } = list;
  const stdin =
    command === "VERSION"
      ? { cniVersion }
      : pluginStdin(plugin, { networkName, cniVersion, capabilityArgs: {}, extra });
  const call = {
    command,
    type: plugin.type,
    path,
    binDirs,
    containerId: "",
    netnsPath: "",
    ifName: "",
    args: "",
    stdin,
  };
  return runPlugin(operations, call, { owner: `network ${networkName}`.slice(0, 64), deadlineMs: timeoutMs }, signal);
}

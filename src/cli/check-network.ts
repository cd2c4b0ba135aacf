import { ConfigWatch } from "../cni/config-watch.ts";
import type { NetworkConfig } from "../cni/network-config.ts";
import { admitNetwork } from "../cni/network-upkeep.ts";
import type { Config } from "../config/schema.ts";
import { readRegistryFiles } from "../image/registry/config-files.ts";
import type { Operations } from "../launcher/operations.ts";
import { messageOf } from "../lib/errors.ts";
import { type CheckLine, fail, ok, warn } from "./check-line.ts";
import { findExecutable } from "./runtime-handlers.ts";

const PLUGIN_MS = 10_000;

/** The network that pods get: its configuration, its plugins, and what those need. */
export async function checkNetwork({ cni }: Config, operations: Operations): Promise<readonly CheckLine[]> {
  const admit = (asked: NetworkConfig, signal: AbortSignal) => admitNetwork(operations, asked, PLUGIN_MS, signal);
  await using network = await ConfigWatch.open({ ...cni, admit, notify: false });
  const skipped = network
    .skipped()
    .map(({ name, reason }) =>
      warn("network", `${name} is not used: ${reason}`, `correct or remove ${cni.confDir}/${name}`),
    );
  const { ready, message } = network.status();
  if (!ready) {
    const remedy = "install a network add-on, or a configuration and its plugins; until then pods need hostNetwork";
    return [...skipped, warn("network", message, remedy)];
  }
  const current = network.current();
  const types = current.list.plugins.map(({ type }) => type);
  const found = `${current.list.name} from ${cni.confDir}/${current.file}: ${types.join(", ")} (CNI ${current.list.cniVersion})`;
  return [...skipped, ok("network", found), ...(await packetFilter(types))];
}

async function packetFilter(types: readonly string[]): Promise<readonly CheckLine[]> {
  const users = types.filter((type) => type === "portmap" || type === "firewall");
  if (users.length === 0) return [];
  const found = (await findExecutable("iptables")) ?? (await findExecutable("nft"));
  if (found !== undefined) return [ok("packet filter", found)];
  const remedy = "apt-get install iptables, or take those plugins out of the network's configuration";
  return [fail("packet filter", `no iptables and no nft: ${users.join(" and ")} cannot work`, remedy)];
}

/** registries.conf with its drop-ins, and the files with credentials. */
export async function checkRegistries({ registries }: Config): Promise<CheckLine> {
  const { configFile, authFile } = registries;
  try {
    const { conf } = await readRegistryFiles({ configFile, authFiles: authFile === "" ? [] : [authFile] });
    const search = (conf.searchRegistries ?? []).join(", ");
    return ok(
      "registries",
      `${configFile} is valid${search === "" ? "" : `; short names are looked for in ${search}`}`,
    );
  } catch (error) {
    return fail("registries", messageOf(error), "correct that file: the server does not start with it");
  }
}

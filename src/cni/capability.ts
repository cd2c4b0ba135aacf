import { invalidArgument } from "../lib/errors.ts";
import { parseQuantity } from "../lib/quantity.ts";
import type { JsonObject } from "./json-object.ts";
import type { NetworkList } from "./network-config.ts";

/** Same shape as the sandbox config's; hostPort 0 means that the host does not listen. */
export interface PortMapping {
  readonly protocol: "tcp" | "udp" | "sctp";
  readonly containerPort: number;
  readonly hostPort: number;
  readonly hostIp: string;
}

/** What a sandbox asks of its network, in the words of its config. */
export interface CapabilityRequest {
  readonly portMappings: readonly PortMapping[];
  readonly dns?:
    | { readonly servers: readonly string[]; readonly searches: readonly string[]; readonly options: readonly string[] }
    | undefined;
  /** The sandbox's annotations: only the two for bandwidth are looked at. */
  readonly annotations: Readonly<Record<string, string>>;
  /** One list of ranges for each address that a plugin should give. */
  readonly ipRanges?: readonly (readonly { readonly subnet: string }[])[];
  readonly aliases?: readonly string[];
  readonly mac?: string;
}

/** What plugins are told of a sandbox beyond its identity. */
export interface CapabilityArgs {
  /** By capability; a plugin is told only of those that it declares. */
  readonly args: JsonObject;
  /** What was asked for and no plugin of the network does, in sentences for the log. */
  readonly notices: readonly string[];
}

const INGRESS = "kubernetes.io/ingress-bandwidth";
const EGRESS = "kubernetes.io/egress-bandwidth";
/** As large as every plugin accepts: the rate alone is meant to limit. */
const BURST = 2 ** 31 - 1;

/** The arguments that go with every call for one attachment. Throws `invalidArgument` for a bandwidth that is none. */
export function capabilityArgs(request: CapabilityRequest, list: NetworkList): CapabilityArgs {
  const declared = new Set(list.plugins.flatMap(({ capabilities }) => capabilities));
  const wanted: JsonObject = {
    portMappings: portMappings(request.portMappings),
    bandwidth: bandwidth(request.annotations),
    dns: dns(request.dns),
    ipRanges: request.ipRanges,
    aliases: request.aliases,
    mac: request.mac,
  };
  const asked = Object.entries(wanted).filter(([, value]) => value !== undefined);
  return {
    args: Object.fromEntries(asked.filter(([name]) => declared.has(name))),
    // The node's DNS settings come with every sandbox and reach it by its resolv.conf: nothing to complain of.
    notices: asked
      .filter(([name]) => !declared.has(name) && name !== "dns")
      .map(([name]) => notice(name, request, list.name)),
  };
}

function notice(capability: string, request: CapabilityRequest, network: string): string {
  const why = `no plugin of CNI network ${JSON.stringify(network)} declares the ${capability} capability`;
  if (capability !== "portMappings") return `${capability} has no effect: ${why}`;
  const ports = request.portMappings.filter(({ hostPort }) => hostPort > 0);
  return `host ports ${ports.map(({ hostPort, protocol }) => `${hostPort}/${protocol}`).join(", ")} are not mapped: ${why}`;
}

function portMappings(mappings: readonly PortMapping[]): readonly JsonObject[] | undefined {
  const mapped = mappings.filter(({ hostPort }) => hostPort > 0);
  if (mapped.length === 0) return undefined;
  return mapped.map(({ hostPort, containerPort, protocol, hostIp }) => ({
    hostPort,
    containerPort,
    protocol,
    // "Any address" must not reach plugins that would match packets to 0.0.0.0 literally.
    ...(hostIp === "" || hostIp === "0.0.0.0" || hostIp === "::" ? {} : { hostIP: hostIp }),
  }));
}

function dns(config: CapabilityRequest["dns"]): JsonObject | undefined {
  if (config === undefined) return undefined;
  const { servers, searches, options } = config;
  return servers.length + searches.length + options.length === 0 ? undefined : { servers, searches, options };
}

function bandwidth(annotations: Readonly<Record<string, string>>): JsonObject | undefined {
  const rates = (
    [
      ["ingress", INGRESS],
      ["egress", EGRESS],
    ] as const
  ).flatMap(([direction, annotation]) => {
    if (!Object.hasOwn(annotations, annotation)) return [];
    const rate = parseRate(annotations[annotation] ?? "", annotation);
    return [[`${direction}Rate`, rate] as const, [`${direction}Burst`, BURST] as const];
  });
  return rates.length === 0 ? undefined : Object.fromEntries(rates);
}

/** Bits per second from a Kubernetes quantity; the limits of 1k and 1P are those that Kubernetes documents. */
function parseRate(value: string, annotation: string): number {
  const rate = parseQuantity(value) ?? Number.NaN;
  if (rate >= 1e3 && rate <= 1e15) return rate;
  throw invalidArgument(
    `annotation ${annotation}: ${JSON.stringify(value.slice(0, 40))} is not a bandwidth between 1k and 1P, like "10M"`,
    { annotation },
  );
}

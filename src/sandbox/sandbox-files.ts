import type { DnsConfig, SandboxConfig } from "../oci/config.ts";

/** The text of /etc/hosts: the sandbox's own name for its addresses. A kubelet mounts its own over it. */
export function hostsFile(config: SandboxConfig): string {
  const own = config.hostname === "" ? "" : `127.0.1.1\t${config.hostname}\n`;
  return `127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n${own}`;
}

/** The text of resolv.conf, or undefined for the host's own (no DNS configuration, or an empty one). */
export function resolvConf(dns: DnsConfig | undefined): string | undefined {
  if (dns === undefined) return undefined;
  const lines = [
    ...(dns.searches.length > 0 ? [`search ${dns.searches.join(" ")}`] : []),
    ...dns.servers.map((server) => `nameserver ${server}`),
    ...(dns.options.length > 0 ? [`options ${dns.options.join(" ")}`] : []),
  ];
  return lines.length === 0 ? undefined : `${lines.join("\n")}\n`;
}

/** The name that the sandbox's UTS namespace gets; undefined: the host's namespace is used. */
export function sandboxHostname(config: SandboxConfig): string | undefined {
  if (config.namespaces.network === "node") return undefined;
  return config.hostname === "" ? config.metadata.name.slice(0, 63) : config.hostname;
}

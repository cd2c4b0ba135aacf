import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** The registries that test images are named after; a mirror stands in for each. */
const registries = ["registry.k8s.io", "gcr.io", "k8s.gcr.io", "docker.io", "public.ecr.aws"];

/** Where the CNI configuration and the addresses that host-local leased are found. */
export interface CniFiles {
  readonly confDir: string;
  readonly leases: string;
}

const network = "nacelle-test";

/** A registries.conf that sends every registry of the test images to the one at `mirror` (host:port), over plain HTTP. */
export function registriesConf(mirror: string): string {
  const sections = registries.map(
    (name) => `[[registry]]
prefix = "${name}"
location = "${name}"
[[registry.mirror]]
location = "${mirror}"
insecure = true
`,
  );
  return ['unqualified-search-registries = ["docker.io"]\n', ...sections].join("\n");
}

/** Writes a conflist as nodes have it (bridge, host-local, port mappings, firewall) with its state below `folder`. */
export async function writeCni(folder: string): Promise<CniFiles> {
  const confDir = join(folder, "cni");
  const dataDir = join(folder, "cni-leases");
  await mkdir(confDir);
  await writeFile(join(confDir, "10-test.conflist"), JSON.stringify(conflist(dataDir), null, 2));
  return { confDir, leases: join(dataDir, network) };
}

function conflist(dataDir: string): object {
  return {
    cniVersion: "1.0.0",
    name: network,
    plugins: [
      {
        type: "bridge",
        bridge: "nacelle0",
        isGateway: true,
        ipMasq: true,
        hairpinMode: true,
        ipam: {
          type: "host-local",
          dataDir,
          ranges: [[{ subnet: "10.88.0.0/16" }]],
          routes: [{ dst: "0.0.0.0/0" }],
        },
      },
      { type: "portmap", capabilities: { portMappings: true }, snat: true },
      { type: "firewall", backend: "iptables" },
    ],
  };
}

import { isSameValue } from "../lib/same-value.ts";
import type { ContainerConfig } from "../oci/config.ts";

const TERMINATION_PATH = "io.kubernetes.container.terminationMessagePath";
const DEFAULT_TERMINATION_PATH = "/dev/termination-log";

/** The variables by which a kubelet tells of services; they change whenever a service comes or goes. */
const SERVICE_VARIABLE =
  /^[A-Z_][A-Z0-9_]*_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)$/;

/**
 * Whether a request asks for what an earlier one asked for. A kubelet that repeats CreateContainer makes a new file for
 * the termination message and reads the services anew: neither makes it another container.
 */
export function isSameContainer(first: ContainerConfig, second: ContainerConfig): boolean {
  return isSameValue(lasting(first), lasting(second));
}

function lasting(config: ContainerConfig): ContainerConfig {
  const terminationPath = config.annotations[TERMINATION_PATH] ?? DEFAULT_TERMINATION_PATH;
  return {
    ...config,
    envs: config.envs.filter(({ key }) => !SERVICE_VARIABLE.test(key)),
    mounts: config.mounts.map((mount) =>
      mount.containerPath === terminationPath ? { ...mount, hostPath: "" } : mount,
    ),
  };
}

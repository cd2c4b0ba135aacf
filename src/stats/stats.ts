import type { CgroupFigures } from "../cgroup/figures.ts";
import type { InterfaceFigures } from "../cgroup/net-dev.ts";
import type { Container } from "../container/container.ts";
import type { FilesystemUsage } from "../image/filesystem-usage.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";

/** A cgroup's figures at one moment. */
export interface Usage {
  /** When they were read: nanoseconds since 1970. */
  readonly timeNs: bigint;
  readonly figures: CgroupFigures;
  /** CPU nanoseconds per second of late; undefined at the first look. */
  readonly nanoCores: number | undefined;
}

export interface ContainerStats {
  readonly container: Container;
  /** Undefined when it does not run. */
  readonly usage: Usage | undefined;
  /** Undefined until it was measured for the first time. */
  readonly writableLayer: FilesystemUsage | undefined;
}

/** The interfaces of a network namespace at one moment. */
export interface NetworkStats {
  readonly timeNs: bigint;
  readonly interfaces: readonly InterfaceFigures[];
}

export interface SandboxStats {
  readonly sandbox: Sandbox;
  /** Of its own cgroup parent; of its containers together where it shares that with others. Undefined when it is not ready. */
  readonly usage: Usage | undefined;
  /** Undefined on the host's network, and when it is not ready. Loopback is left out. */
  readonly network: NetworkStats | undefined;
  readonly containers: readonly ContainerStats[];
}

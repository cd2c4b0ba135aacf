import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import {
  type CgroupDriver,
  type CgroupLayout,
  cgroupDirectories,
  cgroupPath,
  cgroupsPath,
  controllerMount,
  defaultParent,
  driverOf,
  ensureParent,
  normalPath,
  parentPath,
  parseParent,
  unifiedMount,
} from "../cgroup/cgroup.ts";
import { bandwidthWrites, type CpuBandwidth, limitWrites, scopeWrites } from "../cgroup/limit-writes.ts";
import type { Operation } from "../launcher/operations.ts";
import type { SandboxConfig } from "../oci/config.ts";
import { setPropertyArgs } from "../oci/spec/scope.ts";
import type { OciResources } from "../oci/spec/types.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";

/**
 * Where the cgroups of sandboxes and containers are on this host. A sandbox keeps the driver that it was made with, which its
 * parent tells.
 */
export class Cgroups {
  readonly layout: CgroupLayout;
  /** Of sandboxes that are made now. */
  readonly driver: CgroupDriver;
  readonly #defaultParent: string;
  readonly #controllers: readonly string[];

  constructor(layout: CgroupLayout, driver: CgroupDriver, defaultParent: string) {
    this.layout = layout;
    this.driver = driver;
    this.#defaultParent = defaultParent;
    this.#controllers = layout.mode === "v2" ? controllersOf(unifiedMount(layout) ?? "") : [];
  }

  /** Throws `invalidArgument` for a parent that is none. */
  check(config: SandboxConfig): void {
    this.parentOf(config);
  }

  /** The parent is made and nothing else: its limits are the client's. Nothing of slices, which systemd makes. */
  ensureParent(sandbox: Sandbox): readonly Operation[] {
    return ensureParent(this.layout, this.#parent(sandbox), this.#controllers);
  }

  /** `linux.cgroupsPath` of the spec of a container, or of pause. */
  specPath(sandbox: Sandbox, id: string): string {
    return cgroupsPath(this.#parent(sandbox), id);
  }

  /** Where memory is accounted; empty where it is not. */
  memoryDirectory(sandbox: Sandbox, id: string): string {
    const mountPoint = controllerMount(this.layout, "memory");
    return mountPoint === undefined ? "" : join(mountPoint, this.path(sandbox, id));
  }

  /** On a host with v2 alone; empty on others. */
  unifiedDirectory(sandbox: Sandbox, id: string): string {
    const mountPoint = this.layout.mode === "v2" ? unifiedMount(this.layout) : undefined;
    return mountPoint === undefined ? "" : join(mountPoint, this.path(sandbox, id));
  }

  directories(sandbox: Sandbox, id: string): readonly string[] {
    return cgroupDirectories(this.layout, this.path(sandbox, id));
  }

  /** With systemd the bandwidth is the scope's, which the runtime changes; on v2 it is one file, which no order can spoil. */
  writesBandwidth(sandbox: Sandbox): boolean {
    return this.layout.mode !== "v2" && driverOf(this.#parent(sandbox)) === "cgroupfs";
  }

  /** To be written before the runtime updates a container. */
  before(sandbox: Sandbox, id: string, from: CpuBandwidth, to: CpuBandwidth): readonly Operation[] {
    return this.writesBandwidth(sandbox) ? bandwidthWrites(this.layout, this.path(sandbox, id), from, to) : [];
  }

  /** systemd's own program: it asks systemd directly, and is wherever that is. */
  tellCommand(sandbox: Sandbox, id: string, limits: OciResources): readonly string[] {
    if (driverOf(this.#parent(sandbox)) === "cgroupfs") return [];
    const args = setPropertyArgs(basename(this.path(sandbox, id)), limits);
    return args.length === 0 ? [] : ["/usr/bin/systemctl", ...args];
  }

  /** To be written after that. */
  after(sandbox: Sandbox, id: string, limits: OciResources): readonly Operation[] {
    const path = this.path(sandbox, id);
    const { hugepageLimits = [], unified = {} } = limits;
    return [
      ...(driverOf(this.#parent(sandbox)) === "systemd" ? scopeWrites(this.layout, path, limits) : []),
      ...limitWrites(this.layout, path, { hugepageLimits, unified }),
    ];
  }

  /** Where its processes are listed. */
  directory(sandbox: Sandbox, id: string): string {
    return this.memoryDirectory(sandbox, id) || (this.directories(sandbox, id)[0] ?? "");
  }

  /** Lets its processes run, whoever froze them. */
  thaw(sandbox: Sandbox, id: string): readonly Operation[] {
    const mountPoint = controllerMount(this.layout, "freezer");
    const [file, state] = this.layout.mode === "v2" ? ["cgroup.freeze", "0"] : ["freezer.state", "THAWED"];
    if (mountPoint === undefined) return [];
    return [{ op: "writeKernelFile", path: join(mountPoint, this.path(sandbox, id), file), data: Buffer.from(state) }];
  }

  /** The path of a container's cgroup below each hierarchy's mount. */
  path(sandbox: Sandbox, id: string): string {
    return cgroupPath(this.#parent(sandbox), id);
  }

  /** The path of a sandbox's cgroup parent below each hierarchy's mount. */
  parentPath(sandbox: Sandbox): string {
    return parentPath(this.#parent(sandbox));
  }

  /** Of a container that belongs to no sandbox, below the default parent: how its spec names it, what makes its parent, its directories. */
  ofTrial(id: string): {
    readonly specPath: string;
    readonly ensure: readonly Operation[];
    readonly directories: readonly string[];
  } {
    const parent = this.#defaultOf(this.driver);
    return {
      specPath: cgroupsPath(parent, id),
      ensure: ensureParent(this.layout, parent, this.#controllers),
      directories: cgroupDirectories(this.layout, cgroupPath(parent, id)),
    };
  }

  /** The parent of a sandbox that is made now. */
  parentOf({ cgroupParent }: SandboxConfig): string {
    return cgroupParent === "" ? this.#defaultOf(this.driver) : parseParent(cgroupParent, this.driver);
  }

  /** Rows that do not tell were written when there was cgroupfs alone. */
  #parent({ cgroupParent, config }: Sandbox): string {
    if (cgroupParent !== undefined) return cgroupParent;
    return config.cgroupParent === "" ? this.#defaultOf("cgroupfs") : normalPath(config.cgroupParent);
  }

  #defaultOf(driver: CgroupDriver): string {
    return driver === "systemd" ? defaultParent(driver) : normalPath(this.#defaultParent);
  }
}

function controllersOf(mountPoint: string): readonly string[] {
  return readFileSync(join(mountPoint, "cgroup.controllers"), "utf8")
    .trim()
    .split(" ")
    .filter((name) => name !== "");
}

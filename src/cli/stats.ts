import { existsSync } from "node:fs";
import { join } from "node:path";
import { unifiedMount } from "../cgroup/cgroup.ts";
import { FigureFiles } from "../cgroup/figure-files.ts";
import { StatsReader } from "../launcher/stats-reader.ts";
import type { DiskWalks } from "../stats/disk-walks.ts";
import { StatsFiles } from "../stats/stats-files.ts";
import { StatsService } from "../stats/stats-service.ts";
import type { Daemon } from "./daemon.ts";
import type { DaemonParts } from "./daemon-parts.ts";

/** Statistics, and the process that they are read by. */
export interface OwnStats extends Disposable {
  readonly service: StatsService;
}

/** Begins to measure writable layers; everything else happens when it is asked for. */
export function openStats(parts: DaemonParts, { sandboxes, containers }: Daemon, walks: DiskWalks): OwnStats {
  const { launcher, paths, cgroups, config } = parts;
  const files = new StatsFiles({
    open: async () => StatsReader.open((await (await launcher.current).startStats()).socketPath),
    ids: () => new Set([...sandboxes.list(), ...containers.list()].map(({ id }) => id)),
  });
  walks.start(() => containers.list().map(({ id }) => ({ id, path: join(paths.writable(id), "upper") })));
  const service = new StatsService({
    files,
    figures: new FigureFiles(cgroups.layout),
    cgroupOf: (sandbox, id) => cgroups.path(sandbox, id),
    parentOf: (sandbox) => cgroups.parentPath(sandbox),
    netnsOf: ({ id, config: asked }) => (asked.namespaces.network === "pod" ? paths.netns(id) : ""),
    sandboxes,
    containers,
    writableLayer: (id) => {
      const usage = walks.of(id);
      if (usage === undefined) return undefined;
      return { timestamp: usage.at, mountpoint: config.root, usedBytes: usage.bytes, inodesUsed: usage.inodes };
    },
    hasPressure: unifiedMount(cgroups.layout) !== undefined && existsSync("/proc/pressure/cpu"),
  });
  return { service, [Symbol.dispose]: () => files[Symbol.dispose]() };
}

import { unwatchFile, watchFile } from "node:fs";
import { copyFile, mkdir, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { parseCgroups } from "../cgroup/cgroup.ts";
import type { Config } from "../config/schema.ts";
import type { LauncherSupervisor } from "../launcher/launcher-supervisor.ts";
import type { Log } from "../lib/log.ts";
import type { SpecPolicy } from "../oci/spec/input.ts";
import type { Paths } from "../sandbox/paths.ts";
import { chooseDriver, readSystemdFacts } from "./cgroup-driver.ts";
import { Cgroups } from "./cgroups.ts";
import { ensureMountPoints } from "./exclusive-mounts.ts";
import type { Host } from "./host.ts";
import { readHostFacts } from "./host-facts.ts";

export interface HostParts {
  readonly config: Config;
  readonly log: Log;
  readonly launcher: LauncherSupervisor;
  readonly paths: Paths;
  /** Path of nacelle-native. */
  readonly binary: string;
}

export interface PreparedHost extends Disposable {
  readonly host: Host;
  readonly cgroups: Cgroups;
}

const RESOLV_CONF = "/etc/resolv.conf";
/** Where systemd-resolved writes the real servers: its stub at 127.0.0.53 answers in the host's network namespace alone. */
const RESOLVED_CONF = "/run/systemd/resolve/resolv.conf";
const TOO_LONG =
  "root is too long a path for second exit records: ends in the last moments before a reboot may be unknown; use a shorter one";
const MAX_RESOLV_CONF = 65_536;

/** Reads what this host can do and makes the few directories and mounts that are nobody's in particular. */
export async function prepareHost({ config, log, launcher, paths, binary }: HostParts): Promise<PreparedHost> {
  const [mountinfo, resolvConf] = await Promise.all([
    ensureMountPoints(launcher, paths.mounts, paths.netnsDir),
    readResolvConf(),
    makePauseRoot(paths.pauseRootfs, binary),
    mkdir(paths.exits, { recursive: true, mode: 0o700 }),
    ...["m", "p", "u"].map((name) => mkdir(join(paths.runDir, name), { recursive: true, mode: 0o700 })),
    ...Object.keys(config.runtimes).map((name) => mkdir(paths.runtimeRoot(name), { recursive: true, mode: 0o700 })),
  ]);
  if (!paths.hasExitCopies) log.warn(TOO_LONG, { root: config.root });
  const layout = parseCgroups(mountinfo);
  const noticed = new Set<string>();
  const host = {
    facts: await readHostFacts(layout),
    policy: specPolicy(config),
    mountinfo,
    resolvConf,
    notice: (text: string) => {
      if (!noticed.has(text)) log.warn(text);
      noticed.add(text);
    },
  };
  watchFile(RESOLV_CONF, { interval: 5_000, persistent: false }, () => {
    void readResolvConf().then((text) => {
      host.resolvConf = text;
    });
  });
  const { driver, reason, problem } = chooseDriver(config.cgroupDriver, layout.mode, await readSystemdFacts());
  log.info("cgroup driver", { driver, reason });
  if (problem !== "") log.warn("the cgroup driver cannot work", { driver, problem });
  const cgroups = new Cgroups(layout, driver, config.cgroupParent);
  return { host, cgroups, [Symbol.dispose]: () => unwatchFile(RESOLV_CONF) };
}

function specPolicy({ defaultUlimits }: Config): SpecPolicy {
  const ulimits = Object.entries(defaultUlimits).map(([name, { soft, hard }]) => ({
    type: `RLIMIT_${name.toUpperCase()}`,
    soft,
    hard,
  }));
  return { ulimits, pidsLimit: 0 };
}

/** The host's name servers as a pod can reach them; empty when there is no such file. */
async function readResolvConf(): Promise<Buffer> {
  const text = await readFile(RESOLV_CONF).catch(() => Buffer.alloc(0));
  if (!text.includes("127.0.0.53")) return text.subarray(0, MAX_RESOLV_CONF);
  return readFile(RESOLVED_CONF).catch(() => text);
}

/** A root with one file. Under `root` and not under /run, which is often mounted noexec. */
async function makePauseRoot(rootfs: string, binary: string): Promise<void> {
  await Promise.all(["proc", "dev", "sys"].map((name) => mkdir(join(rootfs, name), { recursive: true, mode: 0o755 })));
  const target = join(rootfs, "pause");
  // Replaced by rename: the one that runs in older sandboxes stays what it is.
  await copyFile(binary, `${target}.new`);
  await rename(`${target}.new`, target);
}

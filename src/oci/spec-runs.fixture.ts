import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { featuresArgs, parseFeatures, type RuntimeHandler, UNKNOWN_FEATURES } from "./handler.ts";
import { capabilitiesFromMask } from "./spec/capabilities.ts";
import type { HostFacts } from "./spec/input.ts";
import { sampleInput } from "./spec/sample-input.ts";

const APPLETS = "sh cat id env hostname ls touch grep echo stat unshare sleep mkdir readlink".split(" ");
export const CGROUPS = "/sys/fs/cgroup";
export const UNIFIED = existsSync(`${CGROUPS}/cgroup.controllers`);

/** A root file system with busybox, its libraries and two users. */
export function makeRoot(root: string): void {
  for (const dir of ["bin", "proc", "dev", "sys", "etc", "tmp"]) mkdirSync(join(root, dir), { recursive: true });
  const libraries = execFileSync("ldd", ["/bin/busybox"], { encoding: "utf8" }).match(/\/[^ ]+/g) ?? [];
  for (const file of ["/bin/busybox", ...libraries]) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    copyFileSync(file, join(root, file));
  }
  for (const applet of APPLETS) symlinkSync("busybox", join(root, "bin", applet));
  writeFileSync(join(root, "etc/passwd"), "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n");
}

export function hostFacts(): HostFacts {
  const mask = /CapEff:\s*(\S+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  const capabilities = capabilitiesFromMask(mask);
  const score = Number(readFileSync("/proc/self/oom_score_adj", "utf8"));
  const cgroupMode = UNIFIED ? "v2" : "v1";
  return {
    ...sampleInput.host,
    cgroupMode,
    capabilities,
    minOomScoreAdj: capabilities.has("CAP_SYS_RESOURCE") ? -1000 : score,
  };
}

/** Runtimes run in a mount namespace of their own; crun wants the hugetlb hierarchy to be there. */
const PRIVATE = `if [ -d ${CGROUPS}/hugetlb ] && ! grep -q " ${CGROUPS}/hugetlb " /proc/self/mountinfo
then mount -t cgroup -o hugetlb hugetlb ${CGROUPS}/hugetlb; fi`;

export function inPrivate(argv: readonly string[]): readonly [string, readonly string[]] {
  return ["unshare", ["--mount", "--propagation", "private", "sh", "-c", `${PRIVATE}; exec "$@"`, "sh", ...argv]];
}

export const HANDLER: RuntimeHandler = {
  name: "",
  path: "",
  root: "",
  args: [],
  pauseContainer: "auto",
  allowedAnnotations: [],
  exit: "pid",
  signal: "pidfd",
  stats: "cgroup",
  systemdCgroup: false,
};

/** What the runtime says of itself. */
export function featuresOf(handler: RuntimeHandler) {
  const [file = "", ...args] = featuresArgs(handler);
  const { status, stdout } = spawnSync(file, args, { encoding: "utf8" });
  return status === 0 ? parseFeatures(handler.name, stdout) : UNKNOWN_FEATURES;
}

export function volume(
  source: string,
  containerPath: string,
  propagation: "private" | "hostToContainer",
  readonly: boolean,
  recursiveReadOnly = false,
) {
  const request = {
    containerPath,
    hostPath: source,
    readonly,
    recursiveReadOnly,
    selinuxRelabel: false,
    propagation,
  };
  return { source, request };
}

/** The test's own parent, which the runtimes made in every hierarchy and leave behind. */
export function removeEmptyCgroups(base: string): void {
  const name = base.slice(base.lastIndexOf("/") + 1);
  const script = `${PRIVATE}; for d in ${CGROUPS}/${name} ${CGROUPS}/*/${name}; do [ ! -d "$d" ] || rmdir "$d"; done`;
  execFileSync("unshare", ["--mount", "--propagation", "private", "sh", "-c", script]);
}

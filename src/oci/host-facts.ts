import { capabilitiesFromMask } from "./spec/capabilities.ts";
import type { HostFacts } from "./spec/input.ts";

/** What the kernel shows of itself and of nacelle: texts of files that the caller has read (bounded), empty where absent. */
export interface HostTexts {
  /** process.arch; anything but "arm64" is taken for "x64". */
  readonly arch: string;
  /** /proc/self/status */
  readonly status: string;
  /** /proc/self/limits */
  readonly limits: string;
  /** /proc/self/oom_score_adj */
  readonly oomScoreAdj: string;
  /** /proc/sys/kernel/osrelease */
  readonly osrelease: string;
  /** /proc/filesystems: holds "selinuxfs" where the kernel runs SELinux. */
  readonly filesystems: string;
  /** /sys/module/apparmor/parameters/enabled */
  readonly apparmor: string;
  /** Names in /sys/kernel/mm/hugepages. */
  readonly hugepages: readonly string[];
  readonly cgroupMode: HostFacts["cgroupMode"];
  /** Controllers that are mounted (v1) or in the root's cgroup.controllers (v2). */
  readonly controllers: ReadonlySet<string>;
  /** v1: memory.memsw.limit_in_bytes exists; v2: memory.swap.max does. */
  readonly swapAccounting: boolean;
}

/** The facts that specs are built from. Never throws: what cannot be read is taken for absent. */
export function hostFacts(texts: HostTexts): HostFacts {
  const capabilities = capabilitiesFromMask(/^CapEff:\s*([0-9a-f]+)$/m.exec(texts.status)?.[1] ?? "0");
  const unbound = capabilities.has("CAP_SYS_RESOURCE");
  const [, major = "0", minor = "0"] = /^(\d+)\.(\d+)/.exec(texts.osrelease) ?? [];
  return {
    arch: texts.arch === "arm64" ? "arm64" : "x64",
    cgroupMode: texts.cgroupMode,
    capabilities,
    // Without the capability the kernel lets a process only raise what it inherited.
    minOomScoreAdj: unbound ? -1000 : Number.parseInt(texts.oomScoreAdj, 10) || 0,
    rlimitCeilings: unbound ? {} : hardLimits(texts.limits),
    seccomp: /^Seccomp:/m.test(texts.status),
    selinux: /\bselinuxfs$/m.test(texts.filesystems),
    apparmor: texts.apparmor.startsWith("Y"),
    hugepageSizes: texts.controllers.has("hugetlb") ? texts.hugepages.flatMap(hugepageSize) : [],
    swapAccounting: texts.swapAccounting,
    pidsController: texts.controllers.has("pids"),
    kernel: [Number(major), Number(minor)],
  };
}

/** "hugepages-2048kB" is "2MB" in the words of the CRI and of cgroup files. */
function hugepageSize(name: string): readonly string[] {
  const kilobytes = Number(/^hugepages-(\d{1,12})kB$/.exec(name)?.[1] ?? 0);
  if (kilobytes === 0) return [];
  const units = ["KB", "MB", "GB"];
  let size = kilobytes;
  let unit = 0;
  while (size % 1024 === 0 && unit < units.length - 1) {
    size /= 1024;
    unit++;
  }
  return [`${size}${units[unit]}`];
}

const LIMITS: Readonly<Record<string, string>> = {
  "Max cpu time": "RLIMIT_CPU",
  "Max file size": "RLIMIT_FSIZE",
  "Max data size": "RLIMIT_DATA",
  "Max stack size": "RLIMIT_STACK",
  "Max core file size": "RLIMIT_CORE",
  "Max resident set": "RLIMIT_RSS",
  "Max processes": "RLIMIT_NPROC",
  "Max open files": "RLIMIT_NOFILE",
  "Max locked memory": "RLIMIT_MEMLOCK",
  "Max address space": "RLIMIT_AS",
  "Max file locks": "RLIMIT_LOCKS",
  "Max pending signals": "RLIMIT_SIGPENDING",
  "Max msgqueue size": "RLIMIT_MSGQUEUE",
  "Max nice priority": "RLIMIT_NICE",
  "Max realtime priority": "RLIMIT_RTPRIO",
  "Max realtime timeout": "RLIMIT_RTTIME",
};

/** Columns: name, soft, hard, unit. "unlimited" is no ceiling. */
function hardLimits(text: string): Readonly<Record<string, number>> {
  const found = text.split("\n").flatMap((line): readonly [string, number][] => {
    const [, name = "", hard = ""] = /^(Max .*?) {2,}\S+ +(\d+)(?: |$)/.exec(line) ?? [];
    const type = LIMITS[name];
    return type === undefined ? [] : [[type, Number(hard)]];
  });
  return Object.fromEntries(found);
}

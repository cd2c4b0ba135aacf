import type { SandboxConfig } from "../config.ts";
import { defaultSeccompProfile } from "../seccomp/default-profile.ts";
import { pauseAnnotations } from "./annotations.ts";
import type { BuiltSpec } from "./build.ts";
import type { HostFacts, NamespaceChoices, RuntimeFacts } from "./input.ts";
import { buildNamespaces } from "./namespaces.ts";
import { clampOomScoreAdj } from "./process.ts";
import { scopeAnnotations } from "./scope.ts";
import { specSysctls } from "./sysctls.ts";

/** The last that the kernel should kill for memory, short of never: with it dies the sandbox. */
const OOM_SCORE_ADJ = -998;

/** Where `buildPauseSpec` expects the binary in its root. */
export const PAUSE_PATH = "/pause";

export interface PauseInput {
  readonly sandboxId: string;
  readonly sandbox: SandboxConfig;
  /** A directory that holds nothing but the binary, and /proc, /dev and /sys to mount on. */
  readonly rootfs: string;
  /** Its PID namespace is "new" (or "host"); the others are pinned already, or "host". */
  readonly namespaces: NamespaceChoices;
  readonly hostname: string;
  /** All of the sandbox's, as `sandboxSysctls` gives them: those of pinned namespaces are set already and left out. */
  readonly sysctls: readonly (readonly [string, string])[];
  readonly cgroupsPath: string;
  readonly runtime: RuntimeFacts;
  readonly host: HostFacts;
}

/** The spec of the process that holds a sandbox's PID namespace and reaps what is orphaned in it. */
export function buildPauseSpec(input: PauseInput): BuiltSpec {
  const { host, namespaces } = input;
  const oom = clampOomScoreAdj(OOM_SCORE_ADJ, host.minOomScoreAdj);
  return {
    spec: {
      ociVersion: input.runtime.ociVersion,
      process: {
        terminal: false,
        user: { uid: 0, gid: 0, additionalGids: [0] },
        args: [PAUSE_PATH, "pause"],
        env: ["PATH=/"],
        cwd: "/",
        capabilities: { bounding: [], effective: [], inheritable: [], permitted: [], ambient: [] },
        rlimits: [],
        noNewPrivileges: true,
        oomScoreAdj: oom.value,
      },
      root: { path: input.rootfs, readonly: true },
      ...(namespaces.uts === "new" ? { hostname: input.hostname } : {}),
      mounts: [
        { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
        { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "noexec", "mode=755", "size=64k"] },
      ],
      annotations: {
        ...pauseAnnotations(input, input.runtime.allowedAnnotations),
        ...scopeAnnotations(input.cgroupsPath),
      },
      linux: {
        namespaces: buildNamespaces(namespaces, host.cgroupMode === "v2"),
        cgroupsPath: input.cgroupsPath,
        resources: { devices: [{ allow: false, access: "rwm" }], cpu: { shares: 2 } },
        devices: [],
        sysctl: specSysctls(input.sysctls, namespaces),
        ...(host.seccomp ? { seccomp: defaultSeccompProfile(host.arch, new Set()) } : {}),
        maskedPaths: ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/sched_debug"],
        readonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
      },
    },
    notices: oom.notices,
  };
}

import type { UserNamespace } from "../config.ts";
import { idMappings } from "./mounts.ts";
import { PAUSE_PATH } from "./pause.ts";
import { scopeAnnotations } from "./scope.ts";
import type { OciMount, OciSpec } from "./types.ts";

export interface TrialInput {
  /** A root with our binary and an empty /sys. */
  readonly rootfs: string;
  /** A directory with a mount on `sub`. */
  readonly volume: string;
  readonly cgroupsPath: string;
  /** Where its user namespace is pinned, and its ids. */
  readonly users?: UserNamespace & { readonly pin: string };
}

/** Exit code of a trial whose answer is no; any other but 0 is a failure of the runtime. */
export const TRIAL_NO = 10;

const closed = ["nosuid", "noexec", "nodev"];

/** A container that looks whether all of a volume is read-only in it. It ends with 0 if so, with `TRIAL_NO` if not. */
export function readonlyTrial(input: TrialInput): OciSpec {
  return trial(input, ["readonly", "/sys/sub"], { options: ["rbind", "rprivate", "ro", "rro"] });
}

/** A container with ids of its own that looks whether the host's root owns a volume in it. It ends with 0 if so, with `TRIAL_NO` if not. */
export function usersTrial(input: TrialInput & Required<Pick<TrialInput, "users">>): OciSpec {
  return trial(input, ["owned", "/sys"], { options: ["rbind", "rprivate", "rw"], ...idMappings(input.users) });
}

/** A container with ids of its own that looks whether a volume has its option and the mount below it. */
export function wholeBindTrial(input: TrialInput & Required<Pick<TrialInput, "users">>): OciSpec {
  return trial(input, ["whole", "/sys"], { options: ["rbind", "rprivate", "rw", "noexec"] });
}

function trial(
  { rootfs, volume, cgroupsPath, users }: TrialInput,
  look: readonly string[],
  mount: Pick<OciMount, "options"> & Partial<OciMount>,
): OciSpec {
  return {
    ociVersion: "1.0.2",
    process: {
      terminal: false,
      user: { uid: 0, gid: 0, additionalGids: [] },
      args: [PAUSE_PATH, "probe", ...look],
      env: ["PATH=/"],
      cwd: "/",
      capabilities: { bounding: [], effective: [], inheritable: [], permitted: [], ambient: [] },
      rlimits: [],
      noNewPrivileges: true,
      oomScoreAdj: 1000,
    },
    root: { path: rootfs, readonly: true },
    mounts: [
      { destination: "/proc", type: "proc", source: "proc", options: closed },
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "noexec", "mode=755", "size=64k"] },
      { destination: "/sys", type: "bind", source: volume, ...mount },
    ],
    annotations: scopeAnnotations(cgroupsPath),
    linux: {
      namespaces: [
        { type: "mount" },
        { type: "pid" },
        ...(users === undefined ? [] : [{ type: "user", path: users.pin } as const]),
      ],
      cgroupsPath,
      resources: { devices: [{ allow: false, access: "rwm" }] },
      devices: [],
      sysctl: {},
      maskedPaths: [],
      readonlyPaths: [],
    },
  };
}

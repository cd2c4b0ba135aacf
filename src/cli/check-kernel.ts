import type { HostFacts } from "../oci/spec/input.ts";
import { type CheckLine, fail, ok, warn } from "./check-line.ts";

/** What /proc shows; empty where it does not. */
export interface KernelTexts {
  readonly osrelease: string;
  readonly maxUserNamespaces: string;
  readonly inotifyInstances: string;
}

/** Without these no pod can be made. */
const NEEDED = [
  ...["SYS_ADMIN", "NET_ADMIN", "MKNOD", "SETUID", "SETGID", "SETPCAP", "CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL"],
  ...["SYS_CHROOT"],
];
/** What an image's files or a container without further wishes may have; it goes without where nacelle does. */
const USUAL = ["FSETID", "SETFCAP", "NET_RAW", "NET_BIND_SERVICE", "AUDIT_WRITE", "SYS_PTRACE"];

const FEW_INSTANCES = 256;

/** The kernel's version and features, and what nacelle is allowed to do. Pure. */
export function checkKernel(facts: HostFacts, texts: KernelTexts): readonly CheckLine[] {
  return [
    version(facts, texts.osrelease.trim()),
    facts.seccomp
      ? ok("seccomp", "the kernel has it")
      : fail(
          "seccomp",
          "the kernel does not offer it: RuntimeDefault fails",
          "use a kernel with CONFIG_SECCOMP_FILTER",
        ),
    userNamespaces(texts.maxUserNamespaces),
    ...capabilities(facts),
    inotify(texts.inotifyInstances),
  ];
}

function version({ kernel: [major, minor] }: HostFacts, release: string): CheckLine {
  const isAtLeast = (wanted: number, minorWanted: number) =>
    major > wanted || (major === wanted && minor >= minorWanted);
  if (!isAtLeast(5, 6)) {
    return fail(
      "kernel",
      `Linux ${release} has no openat2, or no pidfd`,
      "use Linux 5.6 or later (5.15 or later is better)",
    );
  }
  if (isAtLeast(6, 15)) return ok("kernel", `Linux ${release}: openat2, pidfd, exit codes of any process`);
  // Not worth a warning: it takes a killed monitor to notice.
  return ok("kernel", `Linux ${release}: openat2, pidfd; before 6.15 an exit that a dead monitor missed reads 255`);
}

function userNamespaces(text: string): CheckLine {
  const max = Number.parseInt(text, 10);
  if (Number.isNaN(max))
    return warn("user namespaces", "the kernel does not offer them", "pods with hostUsers: false cannot run");
  if (max > 0) return ok("user namespaces", `${max} at most`);
  return warn(
    "user namespaces",
    "none allowed",
    "for pods with hostUsers: false: sysctl -w user.max_user_namespaces=15000",
  );
}

function capabilities({ capabilities: held, minOomScoreAdj }: HostFacts): readonly CheckLine[] {
  const lacking = (names: readonly string[]) => names.filter((name) => !held.has(`CAP_${name}`));
  const [needed, usual] = [lacking(NEEDED), lacking(USUAL)];
  const lines: CheckLine[] = [];
  if (needed.length > 0) {
    lines.push(fail("capabilities", `${needed.join(", ")} not held`, "start nacelle as root, with all capabilities"));
  }
  if (usual.length > 0) {
    const remedy = "containers go without them; start nacelle with all capabilities";
    lines.push(warn("capabilities", `${usual.join(", ")} not held`, remedy));
  }
  if (!held.has("CAP_SYS_RESOURCE")) {
    const found = `SYS_RESOURCE not held: oom_score_adj is never below ${minOomScoreAdj}, limits not above nacelle's own`;
    lines.push(
      warn("capabilities", found, "start nacelle with CAP_SYS_RESOURCE, or the OOM killer may choose critical pods"),
    );
  }
  return lines.length > 0 ? lines : [ok("capabilities", "all that is needed is held")];
}

function inotify(text: string): CheckLine {
  const instances = Number.parseInt(text, 10) || 0;
  if (instances >= FEW_INSTANCES) return ok("inotify", `${instances} instances per user`);
  const remedy = "sysctl -w fs.inotify.max_user_instances=8192: kubelet, CNI daemons and pods of root share them";
  return warn("inotify", `only ${instances} instances per user`, remedy);
}

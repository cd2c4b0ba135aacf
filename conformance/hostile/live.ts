import { execFile } from "node:child_process";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { status } from "@grpc/grpc-js";
import type { Message } from "../harness/cri-answers.ts";
import { containerConfig } from "../harness/cri-configs.ts";

const run = promisify(execFile);
const { INVALID_ARGUMENT, INTERNAL, NOT_FOUND, DEADLINE_EXCEEDED, UNKNOWN } = status;

/** A container that this node cannot or must not make, the codes that fit, and what the answer has to name. */
export interface LiveAttack {
  readonly what: string;
  readonly config: Message;
  readonly codes: readonly status[];
  readonly names: RegExp;
}

/** Things on the disk that requests point at; below `folder`, which is made. */
export async function plantTraps(folder: string): Promise<void> {
  await mkdir(join(folder, "logs"), { recursive: true });
  await symlink("loop", join(folder, "loop"));
  await writeFile(join(folder, "file"), "no directory");
  await writeFile(join(folder, "garbage.json"), "{ not a profile");
  await writeFile(join(folder, "huge.json"), JSON.stringify({ defaultAction: "x".repeat(1 << 20) }));
  await symlink("/etc/hostname", join(folder, "logs/linked.log"));
  await mkdir(join(folder, "logs/folder.log"));
  await run("mkfifo", [join(folder, "logs/pipe.log")]);
}

/** What may be wrong only on a real node, with a real image, runtime and kernel. The sandbox's log directory is `folder`/logs. */
export function liveAttacks(folder: string, runtime: string): readonly LiveAttack[] {
  const below = (name: string) => join(folder, name);
  const runtimeRefuses = [INTERNAL, INVALID_ARGUMENT];
  const invalid = [INVALID_ARGUMENT];
  const mounting = (hostPath: string, containerPath = "/data") => ({ mounts: [{ hostPath, containerPath }] });
  const attack = (what: string, changes: Message, codes: readonly status[], names: RegExp): LiveAttack => ({
    ...{ what, codes, names },
    config: { ...containerConfig(what.replaceAll(/\W/g, "-")), ...changes },
  });
  const secured = (what: string, securityContext: Message, codes: readonly status[], names: RegExp) =>
    attack(what, { linux: { ...(containerConfig("c").linux as object), securityContext } }, codes, names);
  const limited = (what: string, resources: Message, codes: readonly status[], names: RegExp) =>
    attack(what, { linux: { ...(containerConfig("c").linux as object), resources } }, codes, names);
  const localhost = (path: string) => ({ seccomp: { profileType: "Localhost", localhostRef: path } });

  const ontoProc = ["/proc", "/proc/sys/kernel"].map((path) =>
    attack(`a mount at ${path}`, mounting("/etc", path), runtimeRefuses, /\/proc/),
  );
  return [
    attack("a loop of links", mounting(below("loop/x")), invalid, /config\.mounts\[0\]\.host_path/),
    attack("a folder in a file", mounting(below("file/x")), invalid, /config\.mounts\[0\]\.host_path/),
    ...(runtime === "crun" ? [] : ontoProc), // crun leaves that to whoever asks for it
    attack("a file over a folder", mounting("/etc/hostname", "/bin"), runtimeRefuses, /bin/),
    attack("a mount over the root", mounting("/etc", "/"), runtimeRefuses, /container_path|"\/"/),
    attack(
      "a device that is a file",
      { devices: [deviceAt(below("file"))] },
      invalid,
      /config\.devices\[0\]\.host_path/,
    ),
    attack("a device in a loop", { devices: [deviceAt(below("loop"))] }, invalid, /config\.devices\[0\]\.host_path/),
    attack("a log that is a folder", { logPath: "folder.log" }, invalid, /log_path.*folder\.log/),
    attack("a log that is a link", { logPath: "linked.log" }, invalid, /log_path.*linked\.log/),
    attack("a log below a file", { logPath: "pipe.log/x.log" }, invalid, /log_path.*pipe\.log/),
    attack("a file to work in", { workingDir: "/etc/passwd" }, runtimeRefuses, /working_dir.*\/etc\/passwd/),
    attack("no image", { image: { image: `sha256:${"0".repeat(64)}` } }, [NOT_FOUND, INVALID_ARGUMENT], /image/),
    attack("no such command", { command: ["/no/such"] }, runtimeRefuses, /\/no\/such/),
    attack("a command that is a folder", { command: ["/etc"] }, runtimeRefuses, /\/etc|executable/),
    secured("no such profile", localhost(below("absent.json")), invalid, /seccomp\.localhost_ref.*absent\.json/),
    secured("a profile of garbage", localhost(below("garbage.json")), invalid, /seccomp.*garbage\.json/),
    secured("a profile too big", localhost(below("huge.json")), invalid, /seccomp.*huge\.json/),
    secured("a profile that is a folder", localhost(folder), invalid, /seccomp\.localhost_ref/),
    secured("nobody we know", { runAsUsername: "nobody-here" }, invalid, /run_as_username/),
    secured("a capability there is not", { capabilities: { addCapabilities: ["NO_SUCH"] } }, runtimeRefuses, /NO_SUCH/),
    limited("a byte of memory", { memoryLimitInBytes: "1" }, [...runtimeRefuses, DEADLINE_EXCEEDED], /./),
    limited("processors there are not", { cpusetCpus: "4000-4001" }, [...runtimeRefuses, UNKNOWN], /cpuset/),
    limited("pages there are not", { hugepageLimits: [{ pageSize: "3MB", limit: "1" }] }, runtimeRefuses, /huge/),
  ];
}

function deviceAt(hostPath: string): Message {
  return { hostPath, containerPath: "/dev/x", permissions: "rwm" };
}
